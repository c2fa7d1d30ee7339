//go:build faults

package faults

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// scene is the stage of one row, and the intents that were accepted on it.
type scene struct {
	*stage.Stage
	published []string // ids, in order
	notes     []string // what a row saw besides

	recipients map[string]string // of ids that are not their names
}

// send publishes a text under an id, live, to a recipient of the same name.
func (s *scene) send(id string, header ...string) {
	s.T.Helper()
	s.accept(id, stage.Live+id, text(id), header...)
}

// sendBulk publishes a text under an id in the bulk lane.
func (s *scene) sendBulk(id string, header ...string) {
	s.T.Helper()
	s.accept(id, stage.Bulk+"campaign", text(id), header...)
}

// accept publishes a packet and remembers that it was accepted. The checker finds its posts by id:
// its recipient must have the same name.
func (s *scene) accept(id, subject, packet string, header ...string) {
	s.T.Helper()
	s.Publish(subject, packet, append([]string{"Nats-Msg-Id", id}, header...)...)
	s.published = append(s.published, id)
}

func text(openID string) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":"hello"}}`, openID)
}

// note adds to what was seen.
func (s *scene) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// seen is what came of a scene.
type seen struct {
	ends    string // "2 sent, 1 dead unknown"
	posts   span   // of one intent, least and most
	lost    int    // neither ended nor queued
	doubles int    // ends marked possible_duplicate
}

// span is a range of numbers.
type span struct{ min, max int }

func (s span) String() string {
	if s.min == s.max {
		return fmt.Sprint(s.min)
	}
	return fmt.Sprintf("%d–%d", s.min, s.max)
}

func (s span) holds(other span) bool { return s.min <= other.min && other.max <= s.max }

// look finds out what became of every intent of the scene, and fails when an invariant is broken.
// Nothing may be under way any more.
func (s *scene) look() seen {
	s.T.Helper()
	receipts := s.StoredReceipts()
	waiting := s.queuedAttempts()
	postsOf := s.Posts()
	delivered := s.API.CountBy(sandbox.ByOpenID,
		sandbox.Filter{Call: sandbox.CallSend, Delivered: true})
	out := seen{posts: span{min: 1 << 30}}
	ends := make(map[string]int)
	for _, id := range s.published {
		to := cmp.Or(s.recipients[id], id)
		// A letter id-reuse is about another message than the one with this id.
		rs := slices.DeleteFunc(receipts[id], func(r schema.Receipt) bool {
			return r.Reason == schema.ReasonIDReuse
		})
		switch {
		case len(rs) > 1:
			s.LessOrEqual(mostEndsInOneLife(rs), 1,
				"%s has more than one end in one life: %+v", id, rs)
		case len(rs) == 0 && waiting[id] == 0:
			out.lost++
		}
		end := "queued"
		marked := false
		for _, r := range rs {
			end = strings.TrimSpace(string(r.State) + " " + string(r.Reason))
			marked = marked || r.PossibleDuplicate
		}
		if marked {
			out.doubles++
		}
		ends[end]++
		out.posts.min, out.posts.max = min(out.posts.min, postsOf[to]),
			max(out.posts.max, postsOf[to])
		if delivered[to] > 1 && waiting[id] == 0 {
			s.True(marked, "%s was delivered %d times and nobody says so: %+v\n%s", id, delivered[to],
				rs, lazily(func() string { return s.posts(to) }))
		}
	}
	var parts []string
	for _, end := range slices.Sorted(maps.Keys(ends)) {
		parts = append(parts, fmt.Sprintf("%d %s", ends[end], end))
	}
	out.ends = strings.Join(parts, ", ")
	if len(s.published) == 0 {
		out.posts = span{}
	}
	return out
}

// posts prints what the API heard of a recipient.
func (s *scene) posts(to string) string {
	var b strings.Builder
	for r := range s.API.Records(sandbox.Filter{Call: sandbox.CallSend, OpenID: to}) {
		fmt.Fprintf(&b, "%s delivered %t, answered %t, errcode %d %s\n",
			r.At.UTC().Format("15:04:05.000"), r.Delivered, r.Answered, r.Errcode, r.Fault)
	}
	return b.String()
}

// mostEndsInOneLife returns the most ends that one generation has.
func mostEndsInOneLife(rs []schema.Receipt) int {
	n := make(map[int]int)
	most := 0
	for _, r := range rs {
		n[r.Generation]++
		most = max(most, n[r.Generation])
	}
	return most
}

// queuedAttempts returns the intents in queues and those that wait for their time, with the number
// of the attempt that comes next.
func (s *scene) queuedAttempts() map[string]int {
	s.T.Helper()
	out := make(map[string]int)
	streams := []string{wire.StreamLater}
	for _, app := range s.Apps() {
		streams = append(streams, schema.SendStream(app))
	}
	for _, stream := range streams {
		st, err := s.JS.Stream(s.T.Context(), stream)
		if err != nil {
			continue // a row may have taken it away
		}
		state := st.CachedInfo().State
		for seq := state.FirstSeq; state.Msgs > 0; seq++ {
			if seq > state.LastSeq { // what came due meanwhile lies behind what was there
				last := state.LastSeq
				info, err := st.Info(s.T.Context())
				s.NoError(err)
				if state = info.State; state.LastSeq == last {
					break
				}
			}
			m, err := st.GetMsg(s.T.Context(), seq)
			if err != nil {
				s.ErrorIs(err, jetstream.ErrMsgNotFound)
				continue
			}
			id := m.Header.Get(wire.HeaderID)
			if id == "" {
				id = m.Header.Get(schema.HeaderMsgID)
			}
			attempt, _ := strconv.Atoi(m.Header.Get(wire.HeaderAttempt)) // a producer's has none
			out[id] = max(out[id], attempt, 1)
		}
	}
	return out
}
