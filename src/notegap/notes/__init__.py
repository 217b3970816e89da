"""Where notes come from, one file per format; each gives `Note`s or says, without a word of the note, why not."""
