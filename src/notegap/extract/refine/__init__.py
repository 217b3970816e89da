"""The few concepts that lists of words cannot give: one file each."""
