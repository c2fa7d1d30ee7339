package tail

// BacklogSize is how many receipts wait for a slow terminal.
const BacklogSize = backlogSize
