"""One module for each question that the doctor asks."""
