"""Random programs on random schedules, compared with eager PyTorch bit for bit."""
