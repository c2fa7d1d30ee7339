package doctor

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wechat"
)

// judged are findings as "state: finding".
func judged(findings []Finding) (out []string) {
	for _, f := range findings {
		out = append(out, fmt.Sprintf("%s: %s", f.State, f.Text))
	}
	return out
}

func TestHowServersAndCopiesAreJudged(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"ok: 2 servers, nats-server 2.14.1 and 2.15.2 (needed: 2.14.0)"},
		judged(judgeServers([]node{{version: "2.14.1"}, {version: "2.15.2"}})))
	require.Equal(t, []string{
		"error: n2:4222: nats-server too old: this is 2.10.1",
		"warning: the cluster names a server at n3:4222 that this machine does not reach",
	}, judged(judgeServers([]node{{version: "2.15.2"},
		{address: "n2:4222", err: fmt.Errorf("%w: this is 2.10.1", broker.ErrServerTooOld)},
		{address: "n3:4222", err: errors.New("refused")}})))

	for _, c := range []struct {
		seen replicasSeen
		says []string
	}{
		{replicasSeen{wanted: 1, servers: 1}, []string{
			"ok: one server, one copy: its disk is all there is"}},
		{replicasSeen{wanted: 3, servers: 3, cluster: true}, []string{"ok: 3 copies on 3 servers"}},
		{replicasSeen{wanted: 1, servers: 3, cluster: true}, []string{
			"warning: each stream is on one of 3 servers only: with that server everything stops"}},
		{replicasSeen{wanted: 2, servers: 3, cluster: true}, []string{
			"warning: 2 copies survive no more losses than 1 do"}},
		{replicasSeen{wanted: 3, servers: 3, cluster: true, behind: []string{"n2 (12 streams)"},
			alone: []string{"KEFU_DEAD"}}, []string{
			"warning: copies are not up to date on n2 (12 streams)",
			"error: KEFU_DEAD: no leader"}},
	} {
		require.Equal(t, c.says, judged(judgeReplicas(c.seen)))
	}
	require.Equal(t, "Set nats.replicas to 3 and run kefu setup.",
		judgeReplicas(replicasSeen{wanted: 2, servers: 3})[0].Fix)
	require.Equal(t, "Set nats.replicas to 3 and run kefu setup.",
		judgeReplicas(replicasSeen{wanted: 4, servers: 5})[0].Fix)
}

func TestHowAnAccountIsJudged(t *testing.T) {
	t.Parallel()
	of := func(streams, most int, stored, store int64) jetstream.Tier {
		return jetstream.Tier{Streams: streams, Store: uint64(stored),
			Limits: jetstream.AccountLimits{MaxStreams: most, MaxStore: store, MaxConsumers: 3}}
	}
	for _, c := range []struct {
		seen accountSeen
		says []string
	}{
		{accountSeen{tier: of(12, -1, 2048, -1)}, []string{
			"ok: 12 streams with 2 KiB; the account has no limit of its own"}},
		{accountSeen{tier: of(1, 20, 0, 8<<30), missing: 3}, []string{
			"ok: 1 stream with 0 B; it may have 20 streams and 8 GiB of disk"}},
		{accountSeen{tier: of(12, 13, 0, 4<<30), missing: 2, newBytes: 8 << 30, consumers: 5},
			[]string{
				"error: the account may have 13 streams and has 12: kefu needs 2 more",
				"error: the account allows 3 consumers, and a queue needs 5",
				"error: the account has 4 GiB of disk left, and queues that are to be made may " +
					"take 8 GiB",
			}},
		{accountSeen{tier: of(12, 20, 95<<30, 100<<30)}, []string{
			"warning: of the account's 100 GiB of disk 5 GiB are left"}},
	} {
		require.Equal(t, c.says, judged(judgeAccount(c.seen)))
	}
}

func TestHowDifferencesAreJudged(t *testing.T) {
	t.Parallel()
	changes := []broker.Change{
		{Stream: "A", Kind: broker.Create}, {Stream: "B", Kind: broker.Create},
		{Stream: "C", Field: "max_msgs", Have: "9", Want: "5", Kind: broker.Lossy},
		{Stream: "D", Field: "max_msgs", Have: "9", Want: "5", Kind: broker.Lossy},
		{Stream: "E", Field: "live_shards", Have: "4", Want: "8", Kind: broker.Refused, Why: "no"},
	}
	found := judgeObjects(objectsSeen{changes, 11})
	require.Equal(t, []string{
		"warning: E: live_shards is 4 and should be 8",
		"warning: C, D: max_msgs is 9 and should be 5",
		"error: A, B are missing",
	}, judged(found))
	require.Equal(t, "No.", found[0].Fix)
	require.Contains(t, found[1].Fix, "asks first")
	require.Equal(t, []string{"error: none of kefu's streams is there"},
		judged(judgeObjects(objectsSeen{changes[:2], 2})))
}

func TestHowClocksAreJudged(t *testing.T) {
	t.Parallel()
	of := func(ahead, exact time.Duration) clockSeen {
		return clockSeen{of: "broker", ahead: ahead, exact: exact, warn: time.Second,
			harmful: 10 * time.Second}
	}
	for _, c := range []struct {
		seen clockSeen
		says string
	}{
		{of(3*time.Millisecond, time.Millisecond), "ok: less than 4 ms apart"},
		{of(1200*time.Millisecond, 500*time.Millisecond), "ok: less than 1.7 s apart"},
		{of(-2*time.Second, 0), "warning: this machine's clock is 2.0 s behind the broker's"},
		{of(90*time.Minute, 0), "error: this machine's clock is 1h30m ahead of the broker's: " +
			"deadlines and tokens end at the wrong time"},
	} {
		require.Equal(t, []string{c.says}, judged(judgeClock(c.seen)))
	}
}

func TestHowABaseURLIsJudged(t *testing.T) {
	t.Parallel()
	for base, says := range map[string]string{
		"https://api.weixin.qq.com":    "ok: https://api.weixin.qq.com",
		"https://sh.api.weixin.qq.com": "ok: https://sh.api.weixin.qq.com",
		"http://127.0.0.1:8091": "ok: http://127.0.0.1:8091, on this machine: " +
			"a fake, or a proxy",
		"http://localhost:8091": "ok: http://localhost:8091, on this machine: " +
			"a fake, or a proxy",
		"http://10.0.0.7:80": "warning: tokens and messages go to 10.0.0.7:80 as plain text",
		"https://api.weixin.example": "warning: api.weixin.example is none of WeChat's hosts: " +
			"it sees every token and message",
		"https://api.weixin.qq.com/proxy": "warning: wechat.base_url has a path, /proxy, " +
			"which WeChat's API has not",
		"api.weixin.qq.com": "error: wechat.base_url is no address",
	} {
		require.Equal(t, []string{says}, judged(judgeBaseURL(base)), base)
	}
}

func TestHowAQuotaIsJudged(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 30, 12, 0, 0, 0, gate.Beijing)
	for _, c := range []struct {
		quota wechat.Quota
		says  []string
	}{
		{wechat.Quota{DailyLimit: 1000, Used: 400, Remain: 600}, []string{
			"ok: 600 of 1,000 sends are left for today"}},
		{wechat.Quota{DailyLimit: 1000, Used: 600, Remain: 400}, []string{
			"warning: 400 of 1,000 sends are left for today, and at the day's pace none from " +
				"20:00 in Beijing"}},
		{wechat.Quota{DailyLimit: 1000, Used: 950, Remain: 50}, []string{
			"warning: 50 of 1,000 sends are left for today"}},
		{wechat.Quota{DailyLimit: 1000, Used: 1000}, []string{
			"error: no send is left for today, of 1,000"}},
		{wechat.Quota{DailyLimit: 1000, Remain: 1000, RateCalls: 1000, RateSeconds: 60}, []string{
			"warning: rate.per_second is 100, and WeChat allows 1,000 calls in 60 seconds"}},
	} {
		seen := quotaSeen{Quota: c.quota, now: noon, perSecond: 100, perDay: 1000}
		require.Equal(t, c.says, judged(judgeQuota(seen)))
	}
}

func TestHowWorkersAndLettersAreJudged(t *testing.T) {
	t.Parallel()
	of := func(version string) pool.Worker {
		return pool.Worker{Version: version, Apps: []string{"wx1"}}
	}
	require.Equal(t, []string{"ok: 2 workers alive"}, judged(judgeWorkers(workersSeen{
		[]pool.Worker{of("v1"), of("v1")}, map[string]uint64{"wx1": 7}})))
	require.Equal(t, []string{"warning: no worker is alive: nothing would be sent"},
		judged(judgeWorkers(workersSeen{queued: map[string]uint64{"wx1": 0}})))
	found := judgeWorkers(workersSeen{[]pool.Worker{of("v1"), of("v2")},
		map[string]uint64{"wx1": 0, "wx2": 3}})
	require.Equal(t, []string{
		"error: no worker that is alive has the app in its configuration",
		"warning: workers of several versions run: v1, v2",
	}, judged(found))
	require.Equal(t, "wx2", found[0].App)

	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	level := deadletter.Level{Letters: 3, MaxLetters: 3, Oldest: now.AddDate(0, 0, -29),
		Keep: 30 * 24 * time.Hour}
	letters := judgeLetters(lettersSeen{level, now})
	require.Len(t, letters, 2)
	require.Equal(t, Error, letters[0].State)
	require.Contains(t, letters[1].Text, "will be deleted for their age, the first at 2026-12-01")
}

func TestHowMemoryAndDiskAreJudged(t *testing.T) {
	t.Parallel()
	of := func(ledger, limit int64) memorySeen {
		return memorySeen{ledger, []memoryLimit{{"the machine", 1 << 40}, {"GOMEMLIMIT", limit}}}
	}
	for _, c := range []struct {
		seen memorySeen
		says string
	}{
		{of(0, 1<<30), "ok: a worker needs about 110 MiB, 0 B"},
		{of(480<<20, 1<<30), "warning: a worker needs about 950 MiB, 840 MiB"},
		{of(1<<30, 1<<30), "error: a worker needs about 1.9 GiB, 1.8 GiB"},
	} {
		require.Equal(t, []string{c.says + " of it for the ledger, and GOMEMLIMIT has 1 GiB"},
			judged(judgeMemory(c.seen)))
	}
	require.EqualValues(t, 300, grown(100, 24*time.Hour, 72*time.Hour))
	require.EqualValues(t, 100, grown(100, time.Minute, 72*time.Hour), "too young to tell")
	require.EqualValues(t, 100, grown(100, 80*time.Hour, 72*time.Hour))

	require.Equal(t, []string{"error: 512 MiB free for ./data: a full disk stops every stream"},
		judged(judgeDisk(diskSeen{"./data", 512 << 20, 0})))
	require.Equal(t, []string{"ok: 8 GiB free for ./data"},
		judged(judgeDisk(diskSeen{"./data", 8 << 30, 4 << 30})))
}

func TestHowThingsAreWritten(t *testing.T) {
	t.Parallel()
	require.Equal(t, "1 app, 2 apps, 1,234,567 apps, 0 apps",
		fmt.Sprintf("%s, %s, %s, %s", counted(1, "app"), counted(2, "app"),
			counted(1_234_567, "app"), counted(0, "app")))
	require.Equal(t, "-1,000", grouped(-1000))
	for d, text := range map[time.Duration]string{
		0: "0 ms", time.Microsecond: "1 ms", 1500 * time.Millisecond: "1.5 s", time.Minute: "1m",
		90 * time.Second: "1m30s", time.Hour: "1h0m",
	} {
		require.Equal(t, text, apart(d))
	}
	require.Equal(t, "Mend it.", sentence("mend it"))
	require.Equal(t, "kefu app resume.", sentence("kefu app resume"))
	require.Equal(t, "rate.per_day is too high.", sentence("rate.per_day is too high."))
	require.Empty(t, sentence(""))
}
