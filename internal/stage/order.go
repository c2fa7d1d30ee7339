package stage

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/schema"
)

// Numbered returns the packet of a recipient's intent number i, from 0: InOrder looks for them.
func Numbered(to string, i int) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":"%s %d"}}`, to, to, i)
}

// NumberedID is the id of a recipient's intent number i.
func NumberedID(to string, i int) string { return fmt.Sprintf("%s-%d", to, i) }

// InOrder checks by the API's record that recipients got every one of their numbered intents, none
// before an earlier one, and says how often one was delivered once more. Two kills that meet the
// same intent leave it unknown: it need not have been delivered. The id of an intent is NumberedID.
func (s *Stage) InOrder(recipients, each int) (twice int) {
	s.T.Helper()
	receipts, next := s.StoredReceipts(), make(map[string]int)
	unknown := func(to string, i int) bool {
		rs := receipts[NumberedID(to, i)]
		return len(rs) == 1 && rs[0].State == schema.StateDead &&
			rs[0].Reason == schema.ReasonUnknown && rs[0].PossibleDuplicate
	}
	skip := func(to string, until int) {
		for next[to] < until && unknown(to, next[to]) {
			next[to]++
		}
	}
	for r := range s.API.Records(sandbox.Filter{Call: sandbox.CallSend, Delivered: true}) {
		var p struct{ Text struct{ Content string } }
		s.NoError(json.Unmarshal([]byte(r.Body), &p))
		to, number, _ := strings.Cut(p.Text.Content, " ")
		var i int
		_, err := fmt.Sscan(number, &i)
		s.NoError(err)
		skip(to, i)
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
	for to := range next {
		skip(to, each)
		s.Equal(each, next[to], to)
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
