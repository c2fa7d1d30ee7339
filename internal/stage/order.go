package stage

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/kefuhq/kefu/internal/sandbox"
)

// Numbered returns the packet of a recipient's intent number i, from 0: InOrder looks for them.
func Numbered(to string, i int) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":"%s %d"}}`, to, to, i)
}

// InOrder checks by the API's record that recipients got every one of their numbered intents, none
// before an earlier one, and says how often one was delivered once more.
func (s *Stage) InOrder(recipients, each int) (twice int) {
	s.T.Helper()
	next := make(map[string]int)
	for r := range s.API.Records(sandbox.Filter{Call: sandbox.CallSend, Delivered: true}) {
		var p struct{ Text struct{ Content string } }
		s.NoError(json.Unmarshal([]byte(r.Body), &p))
		to, number, _ := strings.Cut(p.Text.Content, " ")
		var i int
		_, err := fmt.Sscan(number, &i)
		s.NoError(err)
		switch {
		case i == next[to]:
			next[to]++
		case i < next[to]:
			twice++
		default:
			s.Failf("out of order", "%s got %d when %d was next; %s", to, i, next[to],
				s.postsTo(to))
		}
	}
	s.Len(next, recipients)
	for to, n := range next {
		s.Equal(each, n, to)
	}
	return twice
}

// postsTo returns what the API heard of a recipient.
func (s *Stage) postsTo(to string) string {
	var b strings.Builder
	for r := range s.API.Records(sandbox.Filter{Call: sandbox.CallSend, OpenID: to}) {
		fmt.Fprintf(&b, "\n%s delivered=%t errcode=%d %s: %s", r.At.Format("15:04:05.000"),
			r.Delivered, r.Errcode, r.Fault, r.Body)
	}
	return b.String()
}

// Readers says how many live shards each worker reads, by its process id, and how many all of them,
// by what `kefu pool` tells.
func (s *Stage) Readers() (shards map[int]int, all int) {
	s.T.Helper()
	out, code := s.Kefu("pool", "-o", "json")
	s.Zero(code, out)
	var rows []struct {
		Worker string
		PID    int
		Shards []struct{ Shard int }
	}
	s.NoError(json.Unmarshal([]byte(out), &rows), out)
	shards = make(map[int]int)
	for _, r := range rows {
		if r.Worker != "" { // else shards that nobody reads
			shards[r.PID] = len(r.Shards)
			all += len(r.Shards)
		}
	}
	return shards, all
}
