"""What knows nothing of media: errors, settings, files, progress, command lines and storage."""
