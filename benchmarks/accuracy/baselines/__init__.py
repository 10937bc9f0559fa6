"""What ours is compared with; each file is one idea, in the form that the same encoder and the same data allow."""
