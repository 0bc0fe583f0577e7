"""Face geometry: pure functions between pixels and what face artifacts take and give."""
