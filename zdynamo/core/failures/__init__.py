"""Who can be reached: signs of life, suspicion, and what the data path knows of it."""
