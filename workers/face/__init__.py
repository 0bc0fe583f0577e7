"""Face workers: detect, landmarks, crop, static model."""
