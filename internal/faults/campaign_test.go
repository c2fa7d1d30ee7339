//go:build faults

package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
)

// host is a scene with campaigns.
type host struct {
	*scene
	conn *broker.Conn // the test's own
}

// hostCampaigns connects to a broker that runs.
func hostCampaigns(s *scene) *host {
	s.T.Helper()
	conn, err := broker.Connect(s.T.Context(), broker.Options{
		URL: "nats://" + s.NATS, Name: "host", FirstWait: stage.Patience,
	})
	s.NoError(err)
	s.T.Cleanup(conn.Close)
	return &host{s, conn}
}

// guests is a file of recipients, one row in a hundred for somebody who has one already.
type guests struct {
	campaign string
	people   int
	rows     int
	text     string
}

func invite(name string, people int) guests {
	g := guests{campaign: name, people: people}
	var b strings.Builder
	b.WriteString("openid,greeting\n")
	greeting := strings.Repeat("hello ", 20)
	for i := range people {
		for range 1 + (i%100)/99 {
			fmt.Fprintf(&b, "%s,%s\n", guest(name, i), greeting)
			g.rows++
		}
	}
	g.text = b.String()
	return g
}

func guest(campaign string, i int) string { return fmt.Sprintf("%s-%06d", campaign, i) }

// command is the command that starts a campaign from a file.
func (h *host) command(g guests, file string, rate int) []string {
	h.T.Helper()
	packet := filepath.Join(h.Dir, "packet.json")
	h.NoError(os.WriteFile(packet,
		[]byte(`{"msgtype":"text","text":{"content":"{{greeting}}"}}`), 0o600))
	return []string{"campaign", "start", g.campaign, file, "--template", packet,
		"--rate", fmt.Sprint(rate), "--yes", "-o", "json"}
}

// begin starts a campaign, and has the checker look after its intents.
func (h *host) begin(g guests, rate int) {
	h.T.Helper()
	file := filepath.Join(h.Dir, g.campaign+".csv")
	h.NoError(os.WriteFile(file, []byte(g.text), 0o600))
	h.kefu(h.command(g, file, rate)...)
	h.expect(g)
}

// expect has the checker look after the intents of a campaign.
func (h *host) expect(g guests) {
	h.T.Helper()
	pseudonyms, err := h.conn.Pseudonyms(h.T.Context())
	h.NoError(err)
	if h.recipients == nil {
		h.recipients = make(map[string]string)
	}
	for i := range g.people {
		id := campaign.ID(pseudonyms, stage.App, g.campaign, guest(g.campaign, i))
		h.published = append(h.published, id)
		h.recipients[id] = guest(g.campaign, i)
	}
}

// status asks for a campaign; nothing is known of it while the broker is away.
func (h *host) status(name string) (st campaign.Status) {
	h.T.Helper()
	out, code := h.Kefu("campaign", "status", name, "-o", "json")
	if code == 0 {
		h.NoError(json.Unmarshal([]byte(out), &st))
		h.Equal(st.Rows, parts(st), "the parts of a status add up to its rows: %s", out)
	}
	return st
}

// untilCampaign waits until a campaign is as holds says.
func (h *host) untilCampaign(
	name string, holds func(campaign.Status) bool,
) (st campaign.Status) {
	h.T.Helper()
	h.Eventually(func() bool { st = h.status(name); return holds(st) }, 3*stage.Patience,
		50*time.Millisecond, "the campaign goes on:\n%s", tail{h.scene})
	return st
}

// parts is the sum of what the rows of a campaign are said to be.
func parts(st campaign.Status) int {
	sum := st.Invalid + st.Repeated + st.Queued + st.Open + st.Sent + st.Cancelled
	for _, n := range st.Dead {
		sum += n
	}
	return sum
}

func deadOf(st campaign.Status) (n int) {
	for _, d := range st.Dead {
		n += d
	}
	return n
}

// watchSums reads the status of a campaign of so many rows over and over, and has the test fail when
// it does not add up. stop says how often it was read.
func (h *host) watchSums(g guests) (stop func() int) {
	h.T.Helper()
	over, ended := make(chan struct{}), make(chan struct{})
	looks := 0
	go func() {
		defer close(ended)
		for {
			select {
			case <-over:
				return
			case <-time.After(20 * time.Millisecond):
			}
			st, err := campaign.ReadStatus(h.T.Context(), h.conn, stage.App, g.campaign)
			if err != nil {
				continue // it is not begun, or the broker is away
			}
			looks++
			if st.Rows != parts(st) || st.Rows != g.rows && st.State != campaign.StateUploading {
				h.T.Errorf("a status does not add up to %d rows: %+v", g.rows, st)
				return
			}
		}
	}()
	return func() int {
		close(over)
		<-ended
		return looks
	}
}

// tell has a command pause, resume or cancel a campaign, and says when it had.
func (h *host) tell(name, verb string) time.Time {
	h.T.Helper()
	args := []string{"campaign", verb, name}
	if verb == "cancel" {
		args = append(args, "--yes")
	}
	h.kefu(args...)
	return time.Now()
}

// sends are the messages that the API has been offered.
func (h *host) sends() int { return h.API.Count(sandbox.Filter{Call: sandbox.CallSend}) }

// untilSends waits until the API has been offered n messages.
func (h *host) untilSends(n int) {
	h.T.Helper()
	h.Eventually(func() bool { return h.sends() >= n }, 3*stage.Patience, 10*time.Millisecond,
		"the API has been offered %d", n)
}
