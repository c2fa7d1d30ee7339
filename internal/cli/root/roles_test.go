package root_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/campaign/campaigntest"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/root"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/replay"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// A command that is new belongs to a role: say which one in errands.
func TestEveryCommandBelongsToARole(t *testing.T) {
	t.Parallel()
	known := make(map[string]bool)
	for _, e := range errands {
		known[commandOf(t, e.line)] = true
	}
	eachCommand(root.New(cli.New(cli.Process{})), func(cmd *cobra.Command) {
		if !cmd.HasSubCommands() && !cmd.Hidden {
			require.True(t, known[cmd.CommandPath()], "who may run %s?", cmd.CommandPath())
		}
	})
}

// commandOf returns which command a line runs.
func commandOf(t *testing.T, line string) string {
	t.Helper()
	cmd, _, err := root.New(cli.New(cli.Process{})).Find(strings.Fields(line))
	require.NoError(t, err, line)
	return cmd.CommandPath()
}

func TestEveryRoleMayDoItsErrandsAndNeedsAllItsRights(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	defer w.first()()
	needed := w.walk("operator", looks, acts)
	needed.add(w.walk("viewer", looks))
	needed.add(w.walk("privacy", forgets))
	w.Empty(w.forbidden())
	needed.requireTold(t, readRightsPage(t))
	for _, role := range []string{"operator", "viewer", "privacy"} {
		for _, right := range w.allowed(role) {
			if !seldomNeeded(right) {
				w.NotEmpty(needed[role][right], "no errand of the %s needs %s", role, right)
			}
		}
	}
}

// seldomNeeded says whether no test can count on a right's being used.
func seldomNeeded(right string) bool {
	return strings.Contains(right, ".CONSUMER.INFO.") || // when the broker says nothing for a while
		strings.HasSuffix(right, ".PURGE.KEFU_CAMPAIGN") || // after an upload that was interrupted
		right == "$JS.API.INFO" || right == "$SYS.REQ.USER.INFO" // of a worker's, when it runs doctor
}

// walk is a guarded broker with something to do for every errand.
type walk struct {
	*guarded
	dir      string
	campaign string // the job of autumn
}

func newWalk(t *testing.T) *walk {
	t.Helper()
	return newWalkWith(t, roles(t))
}

func newWalkWith(t *testing.T, rights string) *walk {
	t.Helper()
	w := &walk{guarded: newGuarded(t, rights), dir: t.TempDir()}
	var photo bytes.Buffer
	w.NoError(jpeg.Encode(&photo, image.NewGray(image.Rect(0, 0, 640, 640)), nil))
	for name, text := range map[string]string{
		"users.csv":   "openid\nalice\nbob\n",
		"packet.json": `{"msgtype":"text","text":{"content":"hi"}}`,
		"face.jpg":    photo.String(),
	} {
		w.NoError(os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600))
	}
	w.api.Add(sandbox.Rule{Call: sandbox.CallSend, OpenID: "gone", Errcode: 45015})
	w.api.PutKFAccount(rightsApp, sandbox.KFAccount{Account: "desk@test", Nickname: "desk", Status: 1})
	w.api.PutKFAccount(rightsApp, sandbox.KFAccount{Account: "old@test", Nickname: "old"})
	return w
}

// first does what comes before an operator's day, and leaves a worker running.
func (w *walk) first() (stop func()) {
	w.t.Helper()
	w.do("provisioner", "setup")
	stop = w.worker()
	w.say("worker started", 1)
	p, leave := w.producer()
	defer leave()
	packet := &schema.Packet{ToUser: "gone", Body: &schema.Text{Content: "hi"}}
	for i := range 6 {
		a, err := p.Publish(w.t.Context(), rightsApp, packet, publisher.WithID(fmt.Sprint("gone-", i+1)))
		w.NoError(err)
		_, err = p.Wait(w.t.Context(), a)
		w.NoError(err)
	}
	w.campaign = w.autumn()
	return stop
}

// autumn orders a campaign that waits for its time, and returns the id of its job.
func (w *walk) autumn() string {
	w.t.Helper()
	conn, err := broker.Connect(w.t.Context(), broker.Options{URL: w.url("admin")})
	w.NoError(err)
	defer conn.Close()
	return campaigntest.Order(w.t, conn, campaign.Terms{
		AppID: rightsApp, Campaign: "autumn", SendAt: time.Now().Add(2 * time.Hour),
	}, "alice", "bob")
}

// needs are the commands that need a right, by role and right.
type needs map[string]map[string][]string

func (n needs) add(more needs) {
	for role, rights := range more {
		n[role] = rights
	}
}

// walk does the errands of some roles as a user, and says which rights they needed.
func (w *walk) walk(user string, by ...role) needs {
	w.t.Helper()
	needed := make(map[string][]string)
	for _, e := range errands {
		if !slices.Contains(by, e.by) {
			continue
		}
		if strings.HasPrefix(e.line, "app probe") {
			w.drawHold()
		}
		if e.by == forgets {
			w.edit("alice")
		}
		said, code := w.errand(user, e)
		w.Equal(cli.ExitDone, code, "%s: %s\n%s", user, e.line, said)
		path := commandOf(w.t, e.line)
		for _, subject := range w.taps[user].take(w.t) {
			for _, right := range w.allowed(user) {
				if server.SubjectMatchesFilter(subject, right) && !slices.Contains(needed[right], path) {
					needed[right] = append(needed[right], path)
				}
			}
		}
	}
	return needs{user: needed}
}

// drawHold has a message draw a hold, which it then waits out in the queue.
func (w *walk) drawHold() {
	w.t.Helper()
	w.api.Add(sandbox.Rule{Call: sandbox.CallSend, OpenID: "bob", Errcode: 40164, Times: 1})
	w.publish("bob")
	conn, err := broker.Connect(w.t.Context(), broker.Options{URL: w.url("admin")})
	w.NoError(err)
	defer conn.Close()
	w.Eventually(func() bool {
		holds, err := gate.Holds(w.t.Context(), conn)
		return err == nil && len(holds[rightsApp]) > 0
	}, brokertest.Patience, 10*time.Millisecond)
}

// edit writes down the original of a letter that was edited.
func (w *walk) edit(openID string) {
	w.t.Helper()
	conn, err := broker.Connect(w.t.Context(), broker.Options{URL: w.url("admin")})
	w.NoError(err)
	defer conn.Close()
	body := fmt.Sprintf(`{"letter":{"id":"hi","appid":%q,"openid":%q}}`, rightsApp, openID)
	_, err = conn.Outbox.PublishWait(w.t.Context(),
		broker.PutJob("edited."+rightsApp+".1", []byte(body), 0))
	w.NoError(err)
}

// publish has the producer publish a message.
func (w *walk) publish(openID string) {
	w.t.Helper()
	p, leave := w.producer()
	defer leave()
	_, err := p.Publish(w.t.Context(), rightsApp,
		&schema.Packet{ToUser: openID, Body: &schema.Text{Content: "hi"}})
	w.NoError(err)
}

// errand has a user run an errand, and returns what it printed.
func (w *walk) errand(user string, e errand) (said string, code int) {
	w.t.Helper()
	ctx, interrupt := context.WithTimeout(w.t.Context(), brokertest.Patience)
	defer interrupt()
	out := &prompter{until: e.until, reached: interrupt}
	line := w.withReplays(strings.ReplaceAll(e.line, " @", " "+w.dir+"/"))
	code = w.run(ctx, user, line, out)
	return out.said.String(), code
}

// withReplays puts the ids of replays into a line.
func (w *walk) withReplays(line string) string {
	w.t.Helper()
	if !strings.Contains(line, "EST") {
		return line
	}
	conn, err := broker.Connect(w.t.Context(), broker.Options{URL: w.url("admin")})
	w.NoError(err)
	defer conn.Close()
	all, err := replay.List(w.t.Context(), conn)
	w.NoError(err)
	w.NotEmpty(all)
	return strings.NewReplacer("NEWEST", all[0].Job, "OLDEST", all[len(all)-1].Job).Replace(line)
}

// prompter takes what a command prints, and says when it has printed something.
type prompter struct {
	until   string // "" for nothing
	reached func()

	mu   sync.Mutex
	said strings.Builder
}

func (p *prompter) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said.Write(b)
	if p.until != "" && strings.Contains(p.said.String(), p.until) {
		p.reached()
	}
	return len(b), nil
}
