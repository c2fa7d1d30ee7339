package recipients

import (
	"fmt"
	"strings"
)

// Shape is what a file is written in.
type Shape struct {
	Compression string   `json:"compression,omitempty"` // gzip, zstd or ""
	Encoding    string   `json:"encoding"`              // UTF-8, UTF-16LE, UTF-16BE or GB18030
	Format      Format   `json:"format"`
	Delimiter   string   `json:"delimiter,omitempty"` // of CSV and TSV
	Columns     []string `json:"columns,omitempty"`   // of CSV and TSV, as the header has them
}

// delimiterNames are the delimiters in words.
var delimiterNames = map[string]string{",": "commas", ";": "semicolons", "|": "bars", "\t": "tabs"}

// String is the shape in words, such as "CSV with semicolons in GB18030, gzip, 5 columns".
func (s Shape) String() string {
	var b strings.Builder
	switch s.Format {
	case CSV:
		fmt.Fprintf(&b, "CSV with %s", delimiterNames[s.Delimiter])
	case List:
		b.WriteString("one openid on each line")
	default:
		b.WriteString(strings.ToUpper(string(s.Format)))
	}
	fmt.Fprintf(&b, " in %s", s.Encoding)
	if s.Compression != "" {
		fmt.Fprintf(&b, ", %s", s.Compression)
	}
	switch n := len(s.Columns); n {
	case 0:
	case 1:
		b.WriteString(", 1 column")
	default:
		fmt.Fprintf(&b, ", %d columns", n)
	}
	return b.String()
}
