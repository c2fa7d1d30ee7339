package ledger

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTell(t *testing.T) {
	t.Parallel()
	mark := func(kind Kind, seq uint64, generation uint16, attempt uint8) Mark {
		return Mark{Key: 7, Seq: seq, Body: 1, Kind: kind, Generation: generation, Attempt: attempt}
	}
	s := Interpret([]Event{
		{Worker: "a", Mark: mark(Start, 1, 0, 1)},
		{Worker: "a", Mark: mark(Dead, 1, 1, 1)},
		{Worker: "b", Mark: mark(Start, 1, 0, 1)}, // the acknowledgement was lost
		{Worker: "b", Mark: mark(Start, 5, 0, 1)}, // published again after its death
		{Worker: "b", Mark: mark(Sent, 5, 2, 1)},
		{Worker: "a", Mark: mark(Start, 9, 0, 1)}, // a repeat of what was sent
	})
	rulings, generations := []Ruling{}, []int{}
	for _, e := range s.Events {
		rulings, generations = append(rulings, e.Ruling), append(generations, e.Generation)
	}
	require.Equal(t, []Ruling{Go, 0, Ended, Go, 0, Repeat}, rulings)
	require.Equal(t, []int{1, 1, 1, 2, 2, 2}, generations)
	require.True(t, s.Known)
	require.Equal(t, Sent, s.Now.Kind)
	require.Equal(t, "b", s.Worker)
	require.Equal(t, Story{}, Interpret(nil))
}

func TestAStoryNamesTheMessageInItsQueueOnly(t *testing.T) {
	t.Parallel()
	one, two := noon, noon.Add(time.Hour)
	s := Interpret([]Event{{Mark: start("a", 10, 1).in(one.UnixNano()).m}})
	require.EqualValues(t, 10, s.Seq(one))
	require.Zero(t, s.Seq(two), "the queue was made anew since")
	s = Interpret([]Event{{Mark: start("a", 10, 1).m}})
	require.EqualValues(t, 10, s.Seq(two), "whoever wrote it did not say which queue")

	s = Interpret([]Event{{Mark: dead("a", 10, 1).in(one.UnixNano()).m}})
	require.Equal(t, 1, s.Generation(10, one))
	require.Equal(t, 1, s.Generation(10, time.Time{}))
	require.Equal(t, 2, s.Generation(11, one))
	require.Equal(t, 2, s.Generation(10, two))
}
