"""An opened index answers queries: candidates, exact scores, filters, effort, calibration."""
