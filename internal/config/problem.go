package config

import (
	"fmt"
	"strings"
)

// Problem is one thing wrong with the configuration, worded for whoever has to put it right. It
// never holds the value of a key that could be a secret.
type Problem struct {
	// the file, or the environment variable, or "flag"; empty when no source set a value
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"` // in the file; 0 when unknown
	Key  string `json:"key,omitempty"`  // as people write it: apps[0].rate.burst
	Text string `json:"text"`           // a sentence without the place

	inText bool // the sentence names the key itself
}

// String returns "kefu.yaml:12: worker.receipts: "some" is not one of all, failures, off".
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Key != "" && !p.inText {
		b.WriteString(p.Key)
		b.WriteString(": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Error is a configuration that cannot be used: everything that is wrong with it, so that all of it
// can be corrected at once.
type Error struct {
	Problems []Problem
}

// Error lists the problems, one per line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Warning is something that works but is probably a mistake.
type Warning struct {
	Problem
}

// origin is where a value was set. The zero value means the default.
type origin struct {
	place string // a file, an environment variable, or "flag"
	line  int
}

func (o origin) String() string {
	switch {
	case o.place == "":
		return "default"
	case o.line > 0:
		return fmt.Sprintf("%s:%d", o.place, o.line)
	default:
		return o.place
	}
}
