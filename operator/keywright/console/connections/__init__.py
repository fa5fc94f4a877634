"""What holds for every connection and every answer, whatever is asked: limits, headers, a line in the log."""
