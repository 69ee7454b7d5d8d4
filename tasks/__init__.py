"""One folder a task: everything in which one kind of answer differs; see ``tasks.task``."""
