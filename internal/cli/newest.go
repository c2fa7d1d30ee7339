package cli

import "github.com/spf13/cobra"

// Limit is --limit of a command that prints the newest rows of many.
type Limit struct{ n int }

// tableLimit is how many rows a table holds when no limit is given.
const tableLimit = 100

// AddFlag adds --limit for rows of a kind, in the plural.
func (l *Limit) AddFlag(cmd *cobra.Command, rows string) {
	cmd.Flags().IntVar(&l.n, "limit", -1,
		"at most the newest `n` "+rows+"; 0 for all (default 100 in a table, all as JSON)")
	cmd.Flags().Lookup("limit").DefValue = "0" // the help shows no default beside that
}

// Check refuses a limit that was given and is below 0.
func (l *Limit) Check(cmd *cobra.Command) error {
	if cmd.Flags().Changed("limit") && l.n < 0 {
		return Usagef("--limit cannot be below 0, which is for all")
	}
	return nil
}

// Rows returns how many rows are printed at most; 0 for all.
func (l *Limit) Rows(s *Streams) int {
	switch {
	case l.n >= 0:
		return l.n
	case s.AsJSON():
		return 0
	}
	return tableLimit
}

// Note says how many of the rows that were found are printed, if not all are. counted is what was
// found, with its noun.
func (l *Limit) Note(s *Streams, found int, counted string) {
	if limit := l.Rows(s); limit > 0 && found > limit {
		s.Notef("the newest %s of %s; --limit shows more, 0 all", Grouped(int64(limit)), counted)
	}
}

// Newest keeps the last rows of many.
type Newest[T any] struct {
	Most  int // how many are kept; 0 for all
	Count int // how many came

	ring []T
}

// Add takes the next row.
func (n *Newest[T]) Add(row T) {
	if n.Most > 0 && len(n.ring) == n.Most {
		n.ring[n.Count%n.Most] = row
	} else {
		n.ring = append(n.ring, row)
	}
	n.Count++
}

// Rows returns the rows that were kept, in the order in which they came.
func (n *Newest[T]) Rows() []T {
	if n.Most == 0 || n.Count <= n.Most {
		return n.ring
	}
	first := n.Count % n.Most
	return append(append([]T(nil), n.ring[first:]...), n.ring[:first]...)
}
