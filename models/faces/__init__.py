"""Face geometry: detection, landmarks and crops, from pixels to the inputs of face artifacts and back."""
