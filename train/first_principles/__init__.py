"""The course's first weeks as programs: small networks whose every number can be followed."""
