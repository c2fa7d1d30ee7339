package campaign

import (
	"slices"

	"github.com/kefuhq/kefu/internal/notes"
)

// ExpiredUnfed is how many of the dead expired before they were fed. They have no letter.
func (s Status) ExpiredUnfed() (n int) {
	for _, note := range s.Notes {
		if saysExpired(note) {
			n += note.Count
		}
	}
	return n
}

// Unsaid are the notes that no number of the status stands for.
func (s Status) Unsaid() notes.List { return slices.DeleteFunc(slices.Clone(s.Notes), saysExpired) }

func saysExpired(n notes.Note) bool { return n.Text == noteExpired }
