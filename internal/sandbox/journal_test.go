package sandbox

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	sendRoute  = newRoutes()["/cgi-bin/message/custom/send"]
	tokenRoute = newRoutes()["/cgi-bin/token"]
)

// receive records a send as if it had come in and been answered.
func (j *journal) receive(openID, body string, errcode int) {
	q := request{route: sendRoute, at: time.Now(), appID: app, openID: openID, msgType: "text",
		body: body, size: len(body)}
	a := accept()
	if errcode != 0 {
		a = refuse(errcode)
	}
	t := j.add(&q, &outcome{answer: a, answered: true, delivered: a.accepted})
	j.done(&t)
}

func TestTheRingKeepsTheNewest(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name        string
		keep, calls int
		first, last int // numbers of what is left; 0 when nothing is
	}{
		{"nothing received", 10, 0, 0, 0},
		{"fewer than it keeps", 10, 3, 1, 3},
		{"as many as it keeps", 10, 10, 1, 10},
		{"one more", 10, 11, 2, 11},
		{"many more", 10, 95, 86, 95},
		{"one at a time", 1, 5, 5, 5},
		{"more than a page", pageSize + 7, 3 * pageSize, 2*pageSize - 6, 3 * pageSize},
		{"none kept", 0, 5, 0, 0},
	} {
		for _, drop := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bodies dropped %v", tc.name, drop), func(t *testing.T) {
				t.Parallel()
				s := New(Options{Keep: tc.keep, DropBodies: drop})
				if tc.keep == 0 {
					s = New(Options{Keep: -1})
				}
				for i := range tc.calls {
					s.journal.receive(fmt.Sprint("o", i+1), fmt.Sprint("body", i+1), 0)
				}
				got := s.Received()
				st := s.Stats()
				require.Equal(t, tc.calls, st.Sends)
				require.Equal(t, tc.calls, st.OpenIDs)
				require.Len(t, got, st.Kept)
				require.Equal(t, tc.calls, st.Kept+st.Forgotten)
				if tc.first == 0 {
					require.Empty(t, got)
					return
				}
				require.Equal(t, tc.first, got[0].N)
				require.Equal(t, tc.last, got[len(got)-1].N)
				for i, r := range got {
					require.Equal(t, tc.first+i, r.N)
					require.Equal(t, fmt.Sprint("o", r.N), r.OpenID)
					require.Equal(t, hexHash(hashOf(fmt.Sprint("body", r.N))), r.Hash)
				}
			})
		}
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	s.journal.receive("o1", "apple", 0)
	s.journal.receive("o2", "pear", 45015)
	s.journal.receive("o1", "apple", 0)
	s.journal.receive("o1", "plum", -1)
	for _, tc := range []struct {
		name   string
		filter Filter
		want   []int
	}{
		{"everything", Filter{}, []int{1, 2, 3, 4}},
		{"by recipient", Filter{OpenID: "o1"}, []int{1, 3, 4}},
		{"by call", Filter{Call: "send"}, []int{1, 2, 3, 4}},
		{"by path", Filter{Call: "/cgi-bin/message/custom/send"}, []int{1, 2, 3, 4}},
		{"by another call", Filter{Call: "token"}, nil},
		{"by app", Filter{AppID: app}, []int{1, 2, 3, 4}},
		{"by another app", Filter{AppID: "wx2"}, nil},
		{"by another type", Filter{MsgType: "news"}, nil},
		{"by text", Filter{Contains: "pl"}, []int{1, 3, 4}},
		{"delivered ones", Filter{Delivered: true}, []int{1, 3}},
		{"after a number", Filter{Since: 2}, []int{3, 4}},
		{"after the last", Filter{Since: 4}, nil},
		{"all at once", Filter{OpenID: "o1", Delivered: true, Since: 1}, []int{3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got []int
			for r := range s.Records(tc.filter) {
				got = append(got, r.N)
			}
			require.Equal(t, tc.want, got)
			require.Equal(t, len(tc.want), s.Count(tc.filter))
			require.NoError(t, s.WaitFor(t.Context(), tc.filter, len(tc.want)))
			for n := range 6 {
				var newest []int
				for _, r := range s.Newest(tc.filter, n) {
					newest = append(newest, r.N)
				}
				require.Equal(t, append([]int(nil), tc.want[max(0, len(tc.want)-n):]...), newest)
			}
		})
	}
	require.Equal(t, map[string]int{"o1": 3, "o2": 1}, s.CountBy(ByOpenID, Filter{}))
	require.Equal(t, map[string]int{"o1": 2}, s.CountBy(ByOpenID, Filter{Delivered: true}))
	require.Equal(t, map[string]int{hexHash(hashOf("apple")): 2, hexHash(hashOf("pear")): 1,
		hexHash(hashOf("plum")): 1}, s.CountBy(ByHash, Filter{}))
	require.Equal(t, map[string]int{"0": 2, "-1": 1, "45015": 1}, s.CountBy(ByErrcode, Filter{}))
	require.Equal(t, map[string]int{app: 4}, s.CountBy(ByAppID, Filter{}))
	require.Equal(t, map[string]int{"text": 4}, s.CountBy(ByMsgType, Filter{}))
}

func TestReadingStopsWhenTheReaderDoes(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	for range 1000 {
		s.journal.receive("o", "b", 0)
	}
	n := 0
	for range s.Records(Filter{}) {
		if n++; n == 300 {
			break
		}
	}
	require.Equal(t, 300, n)
}

func TestStats(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	b.Add(Rule{Call: CallSend, After: 2, Times: 1, Errcode: -1})
	b.Add(Rule{Call: CallSend, After: 2, Times: 1, HTTPStatus: 502})
	tokenIn(t, b.stableToken(app, "any", false))
	b.stableToken("", "any", false)
	for i := range 5 {
		b.must("POST", b.sendURL(), message(fmt.Sprint("o", i%2), "hi"))
	}
	st := b.Stats()
	require.WithinDuration(t, time.Now(), st.Since, time.Minute)
	st.Since = time.Time{}
	require.Equal(t, Stats{
		Sends: 5, Delivered: 3, OpenIDs: 2, TokensIssued: 1, PeakInFlight: 1, Kept: 7,
		Calls: map[string]CallStats{
			"send": {
				Total: 5, Errcodes: map[int]int{0: 3, -1: 1}, Faults: map[string]int{"http 502": 1},
			},
			"token": {Total: 2, Errcodes: map[int]int{0: 1, 41002: 1}, Faults: map[string]int{}},
		},
	}, st)
	b.Forget()
	require.Zero(t, b.Stats().Sends+b.Stats().OpenIDs+b.Stats().Kept+b.Stats().TokensIssued)
	require.Len(t, b.Rules(), 2)
	b.send("o1", "numbers start again")
	require.Equal(t, 1, b.Received()[0].N)
}

func TestOverlapIsSeenPerRecipient(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	b.Add(Rule{Call: CallSend, OpenID: "o1", Times: 1, Hang: true})
	conn := b.dial(b.rawSend("o1", "hanging"))
	require.NoError(t, b.Wait(t.Context(), 1))
	b.send("o2", "somebody else")
	b.send("o1", "the same")
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool { return b.Stats().InFlight == 0 }, 10*time.Second,
		time.Millisecond)
	b.send("o1", "afterwards")
	got := b.Received()
	require.Equal(t, []bool{false, false, true, false},
		[]bool{got[0].Overlap, got[1].Overlap, got[2].Overlap, got[3].Overlap})
	require.Equal(t, 1, b.Stats().Overlaps)
	require.Equal(t, 2, b.Stats().PeakInFlight)
}

// TestCallsFromMany has many clients, each sending in turn to recipients of its own, while others
// read. Whatever the sandbox then says must add up, and nobody who waited for his answer may be
// seen to overlap.
func TestCallsFromMany(t *testing.T) {
	t.Parallel()
	const clients, each = 8, 200
	b := start(t, Options{})
	b.client.Transport.(*http.Transport).MaxIdleConnsPerHost = clients
	b.Add(Rule{Call: CallSend, Every: 50, Reset: ResetAfter})
	b.Add(Rule{Call: CallSend, Every: 40, Truncate: 5})
	b.Add(Rule{Call: CallSend, Every: 30, HangUp: true})
	b.Add(Rule{Call: CallSend, Every: 20, Drip: time.Microsecond})
	b.Add(Rule{Call: CallSend, Errcode: -1, Share: 0.1})
	var wg sync.WaitGroup
	var answered atomic.Int64
	for c := range clients {
		wg.Go(func() {
			for i := range each {
				resp, err := b.client.Post(b.sendURL(), "application/json",
					strings.NewReader(message(fmt.Sprint("o", c), fmt.Sprint(i))))
				if err == nil {
					answered.Add(1)
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
				if i%50 == 0 {
					_, _ = b.Count(Filter{OpenID: "o1"}), b.Stats()
				}
			}
		})
	}
	wg.Wait()
	st := b.Stats()
	require.Zero(t, st.Overlaps)
	require.Zero(t, st.InFlight)
	require.Equal(t, clients, st.OpenIDs)
	require.Equal(t, st.Sends, b.Count(Filter{}))
	require.Equal(t, st.Delivered, b.Count(Filter{Delivered: true}))
	require.GreaterOrEqual(t, int64(st.Sends), answered.Load(),
		"a call on a connection that was hung up may not arrive; none arrives from nowhere")
	total := 0
	for _, n := range st.Calls[CallSend].Errcodes {
		total += n
	}
	faults := st.Calls[CallSend].Faults
	require.Equal(t, st.Sends, total+faults["reset after"]+faults["truncate"]+faults["drip"])
	hits := 0
	for _, r := range b.Rules() {
		hits += r.Hits
	}
	require.Equal(t, hits, countRuled(b))
}

func countRuled(b *fixture) (n int) {
	for r := range b.Records(Filter{}) {
		if r.Rule != 0 {
			n++
		}
	}
	return n
}
