package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestADeadLetterIsReplayedUnderItsOwnID(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{})
	s.Start()
	receipts := s.Receipts()
	rule := s.API.Add(sandbox.Rule{Call: "send", Errcode: 45015})
	s.Publish(stage.Live+"oUser1",
		`{"touser":"oUser1","msgtype":"text","text":{"content":"hello"}}`, "Nats-Msg-Id", "order-1")
	r := receipts(1)[0]
	s.Equal(schema.ReasonRecipient, r.Reason)

	out, code := s.Kefu("dead", "list", "-o", "json")
	s.Equal(0, code)
	s.Contains(out, `"order-1"`)
	out, code = s.Kefu("dead", "show", "order-1")
	s.Equal(0, code)
	s.Contains(out, "45015")
	s.NotContains(out, "hello", "what was said is masked")
	s.True(s.API.Remove(rule))

	_, code = s.Kefu("dead", "replay", "order-1", "--dry-run")
	s.Equal(0, code)
	s.Len(s.Letters(), 1, "a dry run changes nothing")
	_, code = s.Kefu("dead", "replay", "order-1")
	s.NotEqual(0, code, "without a terminal it wants --yes")
	out, code = s.Kefu("dead", "replay", "order-1", "--yes", "-o", "json")
	s.Equal(0, code)
	var replayed struct{ Published, Sent, Dead, Left int }
	s.NoError(json.Unmarshal([]byte(out), &replayed), out)
	s.Equal([]int{1, 1, 0, 0}, []int{replayed.Published, replayed.Sent, replayed.Dead, replayed.Left})
	r = receipts(1)[0]
	s.Equal("order-1", r.ID)
	s.Equal(schema.StateSent, r.State)
	s.Equal(2, r.Generation)
	s.Empty(s.Letters(), "what was replayed is not dead any more")

	out, code = s.Kefu("find", "order-1")
	s.Equal(0, code)
	s.Contains(out, "sent")
	_, code = s.Kefu("find", "nobody-knows-this-id")
	s.Equal(3, code)
	_, code = s.Kefu("dead", "replay", "--reason", "expired", "--yes")
	s.Equal(3, code, "nothing matched")
	s.NoError(s.Stop(syscall.SIGTERM))
}

func TestSendWaitsForItsReceipt(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{})
	s.Start()
	out, code := s.Kefu("send", "--openid", "oUser1", "--text", "你好", "--id", "greeting",
		"--wait")
	s.Equal(0, code)
	s.Contains(out, "greeting  sent")
	s.JSONEq(`{"touser":"oUser1","msgtype":"text","text":{"content":"你好"}}`,
		s.API.Newest(sandbox.Filter{Call: "send"}, 1)[0].Body)

	s.API.Add(sandbox.Rule{OpenID: "oGone", Errcode: 40003})
	out, code = s.Kefu("send", "--openid", "oGone", "--text", "hello", "--wait", "-o", "json")
	s.Equal(1, code, "it was not sent")
	var r schema.Receipt
	s.NoError(json.Unmarshal([]byte(out), &r))
	s.Equal(schema.ReasonRecipient, r.Reason)

	_, code = s.Kefu("send", "--openid", "oUser1")
	s.Equal(2, code)
	_, code = s.Kefu("send", "--app", "wxUnknown", "--openid", "oUser1", "--text", "hi")
	s.Equal(2, code)
	s.NoError(s.Stop(syscall.SIGTERM))
}

func TestACampaignWhoseUploadIsInterruptedIsStartedAgain(t *testing.T) {
	t.Parallel()
	const n = 10000
	s := stage.New(t, stage.Options{})
	s.Start()
	var csv strings.Builder
	csv.WriteString("openid,name\n")
	for i := range n {
		fmt.Fprintf(&csv, "oUser%05d,\"Name \"\"%d\"\"\"\n", i, i)
	}
	recipients := filepath.Join(s.Dir, "recipients.csv")
	template := filepath.Join(s.Dir, "template.json")
	s.NoError(os.WriteFile(recipients, []byte(csv.String()), 0o600))
	s.NoError(os.WriteFile(template, []byte(`{"msgtype":"text","text":{"content":`+
		`"Dear {{name}}, <a href=\"https://example.com/?a=1&b=2\">spring</a>"}}`), 0o600))

	_, code := s.Kefu("campaign", "start", "spring", "--file", recipients, "--template", template,
		"--dry-run")
	s.Equal(0, code)
	s.Zero(s.API.Stats().Sends, "a dry run sends nothing")

	start := []string{"campaign", "start", "spring", "--file", recipients, "--template", template,
		"--yes"}
	for _, chunks := range []uint64{1, 15} {
		ctx, kill := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		watching.Go(func() {
			stored, err := s.JS.Stream(ctx, wire.StreamCampaign)
			for err == nil && ctx.Err() == nil {
				info, err := stored.Info(ctx)
				if err == nil && info.State.LastSeq >= chunks {
					kill()
				}
			}
		})
		_, _ = s.KefuKilled(ctx, start...) // on a fast machine it may have ended
		kill()
		watching.Wait()
	}
	_, code = s.Kefu(start...)
	s.Equal(0, code)
	ended(s, "spring")

	posts := s.Posts()
	s.Len(posts, n)
	for openID, times := range posts {
		s.Equal(1, times, openID)
	}
	s.Contains(s.API.Newest(sandbox.Filter{OpenID: "oUser00007"}, 1)[0].Body,
		`Dear Name \"7\", <a href=\"https://example.com/?a=1&b=2\">`)
	_, code = s.Kefu(start...)
	s.Equal(0, code, "a start that was done finds nothing to do")
	s.Len(s.Posts(), n)
	out, code := s.Kefu("campaign", "status", "spring", "-o", "json")
	s.Equal(0, code)
	var status map[string]any
	s.NoError(json.Unmarshal([]byte(out), &status))
	s.EqualValues(n, status["sent"], out)
	s.NoError(s.Stop(syscall.SIGTERM))
}

func TestAWithdrawnIntentIsNotSent(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{})
	s.Start()
	receipts := s.Receipts()
	_, code := s.Kefu("app", "pause", stage.App, "--reason", "maintenance")
	s.Equal(0, code)
	s.Publish(stage.Live+"oUser1",
		`{"touser":"oUser1","msgtype":"text","text":{"content":"hello"}}`, "Nats-Msg-Id", "oops")
	_, code = s.Kefu("cancel", "oops", "--yes")
	s.Equal(0, code)
	_, code = s.Kefu("app", "resume", stage.App)
	s.Equal(0, code)
	s.Equal(schema.StateCancelled, receipts(1)[0].State)
	s.Zero(s.API.Stats().Sends)

	audited := 0
	s.EachMessage(wire.StreamAudit, func(broker.Stored) { audited++ })
	s.Equal(3, audited, "pause, cancel and resume are written down")
	s.NoError(s.Stop(syscall.SIGTERM))
}

// TestAnotherModuleUsesThePublisher builds the README's producer in a module of
// its own and lets it wait for its receipt.
func TestAnotherModuleUsesThePublisher(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{})
	s.Start()
	repo, err := filepath.Abs("../..")
	s.NoError(err)
	dir := filepath.Join(s.Dir, "producer")
	s.NoError(os.Mkdir(dir, 0o700))
	example, err := os.ReadFile(filepath.Join(repo, "README.md"))
	s.NoError(err)
	_, program, found := strings.Cut(string(example), "```go\npackage main")
	s.True(found, "the README has a producer")
	program, _, _ = strings.Cut(program, "\n```")
	program = strings.ReplaceAll("package main"+program+"\n", "127.0.0.1:4222", s.NATS)
	s.NoError(os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600))
	mod, err := os.ReadFile(filepath.Join(repo, "go.mod"))
	s.NoError(err)
	_, requires, _ := strings.Cut(string(mod), "\nrequire")
	mod = []byte("module example.com/shop\n\ngo 1.26\n\nrequire" + requires +
		"\nrequire github.com/kefuhq/kefu v0.0.0\n\nreplace github.com/kefuhq/kefu => " + repo +
		"\n")
	s.NoError(os.WriteFile(filepath.Join(dir, "go.mod"), mod, 0o600))
	sum, err := os.ReadFile(filepath.Join(repo, "go.sum"))
	s.NoError(err)
	s.NoError(os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o600))

	goTool := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod")
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		s.NoError(cmd.Run(), errs.String())
		return out.String()
	}
	deps := goTool("list", "-deps", ".")
	s.NotContains(deps, "nats-server")
	s.NotContains(deps, "kefu/internal")
	s.Contains(deps, "github.com/kefuhq/kefu/publisher")
	s.Contains(goTool("run", "."), "sent", "it waited for its receipt")
	s.NoError(s.Stop(syscall.SIGTERM))
}
