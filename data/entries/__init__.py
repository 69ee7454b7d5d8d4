"""The entries of layouts, pictures and clips, and how each kind of them becomes samples."""
