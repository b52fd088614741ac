"""What people say of the videos: pages for them to fill in, and their answers into the lake."""
