package root_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/wire"
)

func TestWhatAViewerMayNotDoIsRefusedInOneSentenceAndChangesNothing(t *testing.T) {
	t.Parallel()
	w := newIdleWalk(t)
	w.haltedJobs()
	before := w.stands()
	for _, e := range errands {
		if e.by != acts && e.by != forgets {
			continue
		}
		said, code := w.errand("viewer", e)
		w.Equal(cli.ExitFailed, code, "%s: %s", e.line, said)
		w.Equal(1, strings.Count(said, "kefu: "), "%s: %s", e.line, said)
		w.Contains(said, "kefu: the broker refuses this user: no permission for ", e.line)
		w.Contains(said, "\nWhich role may do what: Rights in the README.\n", e.line)
		w.NotContains(said, "alice")
		w.NotRegexp(`\b0 letters`, said, e.line)
		w.Equal(before, w.stands(), e.line)
	}
}

// haltedJobs stores a replay that every command changes, and has the campaign be one.
func (w *walk) haltedJobs() {
	w.t.Helper()
	conn, err := broker.Connect(w.t.Context(), broker.Options{URL: w.url("admin")})
	w.NoError(err)
	defer conn.Close()
	order := job.Order{ID: "k3vq7a2m", Kind: job.KindReplay, By: "ann@desk-1", At: time.Now(),
		Apps: map[string]int{rightsApp: 6}}
	w.NoError(job.Submit(w.t.Context(), conn, order))
	for _, id := range []string{order.ID, w.campaign} {
		part, err := json.Marshal(job.Part{Job: id, AppID: rightsApp, Halted: "they died"})
		w.NoError(err)
		_, err = conn.Outbox.PublishWait(w.t.Context(),
			broker.PutJob("job."+id+".part."+rightsApp, part, 0))
		w.NoError(err)
	}
}

func TestACommandThatIsRefusedInTheMiddleSaysWhatItHasDone(t *testing.T) {
	t.Parallel()
	const right = `, "$JS.API.STREAM.MSG.DELETE.KEFU_DEAD"`
	w := newWalkWith(t, strings.ReplaceAll(roles(t), right, ""))
	w.first()()
	said, code := w.errand("operator", errand{line: "dead discard --all --yes"})
	w.Equal(cli.ExitFailed, code, said)
	w.Contains(said, "kefu: the broker refuses this user: no permission for publish to "+
		"$JS.API.STREAM.MSG.DELETE.KEFU_DEAD\n")
	w.Contains(said, "the broker did not take it out")
	w.do("viewer", "audit --verb discard")
	w.Contains(w.log(), "discarded 0, left ")
}

func TestOnlyTheProvisionerChangesStreams(t *testing.T) {
	t.Parallel()
	w := newIdleWalk(t)
	before := w.stands()
	change := errand{line: "setup --set defaults.queue.messages=7"}
	for _, user := range []string{"operator", "viewer", "worker"} {
		said, code := w.errand(user, change)
		w.Equal(cli.ExitFailed, code, said)
		w.Contains(said, "kefu: the broker refuses this user: no permission for publish to "+
			"$JS.API.STREAM.UPDATE.KEFU_SEND_"+rightsApp+"\n", user)
		w.Equal(before, w.stands(), user)
	}
	said, code := w.errand("provisioner", change)
	w.Equal(cli.ExitDone, code, said)
	w.NotEqual(before, w.stands())
}

// By hand, without a command of kefu in between.
func TestNoRoleMayDoWhatIsAnothers(t *testing.T) {
	t.Parallel()
	const (
		app    = rightsApp
		queue  = "KEFU_SEND_" + app
		again  = "kefu.again." + app + ".live.alice"
		pause  = "$KV.KEFU_STATE.app." + app + ".operator"
		claim  = "$KV.KEFU_STATE.pool.claim." + app + ".0"
		logKey = "$KV.KEFU_STATE.pool.log_key"
		job    = "$KV.KEFU_JOB.job.x."
		cancel = "$KV.KEFU_STATE.cancel-campaign." + app + ".x"
	)
	streams := []string{
		"$JS.API.STREAM.DELETE." + queue, "$JS.API.STREAM.PURGE." + queue,
		"$JS.API.STREAM.DELETE.KEFU_DEAD", "$JS.API.STREAM.PURGE.KEFU_DEAD",
		"$JS.API.STREAM.MSG.DELETE." + queue, "$JS.API.STREAM.MSG.DELETE.KEFU_AUDIT",
	}
	update := []string{"$JS.API.STREAM.UPDATE." + queue, "$JS.API.STREAM.CREATE.X"}
	consumers := []string{
		"$JS.API.CONSUMER.DELETE." + queue + ".bulk", "$JS.API.CONSUMER.CREATE." + queue + ".x",
		"$JS.API.CONSUMER.MSG.NEXT." + queue + ".bulk", "$JS.ACK." + queue + ".bulk.1.1.1.1.0",
	}
	w := newIdleWalk(t)
	before := w.stands()
	for user, subjects := range map[string][][]string{
		"shop": {streams, update, consumers, {
			again, pause, claim, logKey, job + "order", "kefu.audit.cancel", "kefu.dead." + app + ".unknown",
			"kefu.send.wx0000000000000002.live.alice", "kefu.receipt." + app + ".sent", "kefu.ledger.x",
			"$JS.API.DIRECT.GET.KEFU_DEAD", "$JS.API.STREAM.MSG.DELETE.KEFU_DEAD", cancel,
		}},
		"viewer": {streams, update, consumers, {
			again, pause, claim, logKey, job + "order", "kefu.audit.reveal", "kefu.dead." + app + ".unknown",
			"kefu.send." + app + ".live.alice", "kefu.receipt." + app + ".sent", "kefu.ledger.x",
			"$KV.KEFU_STATE.cancel." + app + ".x", "$JS.API.STREAM.MSG.DELETE.KEFU_DEAD", cancel,
		}},
		"operator": {streams, update, consumers, {
			claim, logKey, job + "part." + app, "$KV.KEFU_JOB.open." + app,
			"kefu.receipt." + app + ".sent", "kefu.ledger.x", "kefu.rate." + app,
			"$KV.KEFU_STATE.letters.indexed", "$KV.KEFU_STATE.counts.since",
		}},
		"privacy": {streams[:4], update, consumers, {
			again, pause, claim, logKey, job + "order", "kefu.audit.discard", "kefu.dead." + app + ".unknown",
			"kefu.send." + app + ".live.alice", "kefu.receipt." + app + ".sent",
			"$KV.KEFU_STATE.cancel." + app + ".x", cancel,
		}},
		"worker": {streams[:4], update, {"kefu.send." + app + ".live.alice"}},
		"provisioner": {streams, consumers, {
			again, pause, claim, job + "order", "kefu.audit.cancel", "kefu.dead." + app + ".unknown",
			"kefu.send." + app + ".live.alice", "kefu.receipt." + app + ".sent", "kefu.ledger.x",
			"$JS.API.DIRECT.GET.KEFU_DEAD", "$JS.API.STREAM.MSG.DELETE.KEFU_DEAD",
		}},
	} {
		for _, some := range subjects {
			w.refused(user, some)
		}
		w.Equal(before, w.stands(), user)
	}
}

// The broker publishes an answer to the reply subject of its question, whoever asks: that must not
// be a way to publish there.
func TestNoAnswerToAViewerOrAProducerIsStored(t *testing.T) {
	t.Parallel()
	w := newIdleWalk(t)
	before := w.stands()
	for user, questions := range map[string]map[string]string{
		"viewer": {
			"$JS.API.DIRECT.GET.KEFU_SEND_" + rightsApp: `{"seq":1,"next_by_subj":">"}`,
			"$JS.API.STREAM.INFO.KEFU_DEAD":             "",
			"$JS.API.DIRECT.GET.KV_KEFU_STATE":          `{"seq":1,"next_by_subj":">"}`,
		},
		"shop": {
			"$JS.API.STREAM.INFO.KEFU_SEND_" + rightsApp: "",
		},
	} {
		nc, err := nats.Connect(w.url(user))
		w.NoError(err)
		defer nc.Close()
		for question, body := range questions {
			answer, err := nc.Request(question, []byte(body), brokertest.Patience)
			w.NoError(err, question)
			w.NotEmpty(answer.Data, question)
			for _, subject := range []string{
				"kefu.again." + rightsApp + ".live.alice", "kefu.audit.discard",
				"$KV.KEFU_STATE.app." + rightsApp + ".operator", "$JS.API.STREAM.PURGE.KEFU_DEAD",
			} {
				w.NoError(nc.PublishRequest(question, subject, []byte(body)))
			}
			// By when this is answered, so are those before it.
			_, err = nc.Request(question, []byte(body), brokertest.Patience)
			w.NoError(err, question)
		}
		w.Equal(before, w.stands(), user)
	}
	w.Empty(w.forbidden())
}

// refused has a user publish what the broker forbids.
func (w *walk) refused(user string, subjects []string) {
	w.t.Helper()
	nc, err := nats.Connect(w.url(user), nats.ErrorHandler(
		func(*nats.Conn, *nats.Subscription, error) {}))
	w.NoError(err)
	defer nc.Close()
	for _, subject := range subjects {
		w.NoError(nc.PublishRequest(subject, "_INBOX.x", []byte(`{"seq":1}`)))
		w.NoError(nc.Flush())
		said := w.forbidden()
		w.NotEmpty(said, "the %s may publish to %s", user, subject)
		w.Contains(said[len(said)-1], fmt.Sprintf("Subject %q", subject), user)
	}
}

// newIdleWalk is a walk with something to do for every errand, without a worker.
func newIdleWalk(t *testing.T) *walk {
	t.Helper()
	w := newWalk(t)
	w.first()()
	for _, line := range []string{
		"send --openid alice --text hi --id later --send-at 2h", "dead export @letters.ndjson",
		"send --openid alice --text sale --campaign sale",
	} {
		said, code := w.errand("operator", errand{line: line})
		w.Equal(cli.ExitDone, code, said)
	}
	w.hold()
	return w
}

// hold holds the app by what a worker would say, with a message to try it with.
func (w *walk) hold() {
	w.t.Helper()
	conn, err := broker.Connect(w.t.Context(), broker.Options{URL: w.url("worker")})
	w.NoError(err)
	defer conn.Close()
	body := fmt.Sprintf(`{"kind":"upstream","reason":"away","since":%q,"until":%q}`,
		time.Now().UTC().Format(time.RFC3339), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	w.NoError(conn.SaveState(w.t.Context(),
		broker.PutState(gate.AppKey(rightsApp, gate.Upstream), []byte(body), 0)))
	w.publish("bob")
}

// stands says what is stored, but for what comes and goes with workers.
func (w *walk) stands() map[string]string {
	w.t.Helper()
	ctx := w.t.Context()
	conn, err := broker.Connect(ctx, broker.Options{URL: w.url("admin")})
	w.NoError(err)
	defer conn.Close()
	letters, err := os.ReadFile(filepath.Join(w.dir, "letters.ndjson"))
	w.NoError(err)
	out := map[string]string{
		"the export": string(letters), "at WeChat": fmt.Sprint(w.api.KFAccounts(rightsApp)),
	}
	streams := conn.JS.ListStreams(ctx)
	for info := range streams.Info() {
		state := info.State
		if name := info.Config.Name; name == wire.StreamState || name == wire.StreamRate {
			state = jetstream.StreamState{}
		}
		config, err := json.Marshal(info.Config)
		w.NoError(err)
		out[info.Config.Name] = fmt.Sprint(string(config), state.Msgs, state.LastSeq)
	}
	w.NoError(streams.Err())
	for _, prefix := range []string{"app.", "cancel.", "letters.", "counts."} {
		keys, err := conn.ReadState(ctx, prefix)
		w.NoError(err)
		for _, e := range keys {
			out[e.Key] = fmt.Sprintf("%d %s", e.Seq, e.Value)
		}
	}
	return out
}
