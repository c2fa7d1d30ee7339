// Package recipients reads files of recipients: what a file is written in, and row by row the
// checked packets. A file is read once and from its start to its end, so it may be a pipe; of each
// recipient 16 bytes of a hash stay in memory.
//
// A [Reader] finds out the compression, the encoding, the format and the delimiter ([Shape]), fills
// the places of a [Template] from the columns, and judges each packet by the rules of its app. A
// row that breaks one has a [Problem] and does not end the reading; [Rejects] writes such rows to a
// file.
package recipients
