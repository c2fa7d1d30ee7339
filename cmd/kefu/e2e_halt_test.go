package main_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
)

// TestAReplayHaltsWhenTheFirstLettersDieAgain has an operator look, put it right, and go on.
func TestAReplayHaltsWhenTheFirstLettersDieAgain(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{})
	s.Start()
	const letters = 60
	for i := range letters {
		buried(s, fmt.Sprint("order-", i), fmt.Sprint("o", i), uint64(i+1), time.Now())
	}
	refused := s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Errcode: 45015})
	type status struct {
		Job, State, Halted    string
		Published, Sent, Dead int
		Left, Gone            int
	}
	read := func(out string) (st status) {
		s.NoError(json.Unmarshal([]byte(out), &st), out)
		return st
	}
	out, code := s.Kefu("dead", "replay", "--all", "--rate", "0", "--halt-after", "10", "--yes", "-o", "json")
	s.Equal(4, code, out)
	halted := read(out)
	s.Equal("halted", halted.State)
	s.Equal("the first 10 of "+stage.App+" died again", halted.Halted)
	s.Equal([]int{10, 0, 10}, []int{halted.Published, halted.Sent, halted.Dead})
	s.Len(s.Letters(), letters, "50 that stayed, and 10 that are back")

	s.True(s.API.Remove(refused))
	_, code = s.Kefu("dead", "replays", "resume", halted.Job)
	s.Zero(code)
	out, code = s.Kefu("dead", "replays", "watch", halted.Job, "-o", "json")
	s.Zero(code, out)
	done := read(out)
	s.Equal("done", done.State)
	s.Equal([]int{letters, letters - 10, 10, 0, 0},
		[]int{done.Published, done.Sent, done.Dead, done.Left, done.Gone})
	s.Len(s.Letters(), 10)
}
