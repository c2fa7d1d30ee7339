package overview

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/overview"
	"github.com/kefuhq/kefu/internal/pulse"
	"github.com/kefuhq/kefu/internal/replay"
	"github.com/kefuhq/kefu/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC)

// shown is an overview with something in every part.
func shown() overview.Overview {
	ago := func(d time.Duration) *time.Time {
		at := noon.Add(-d)
		return &at
	}
	points := make([]pulse.Point, pulse.Minutes)
	for i := range points {
		points[i].Sent = i * i / 10
	}
	died, unknown, code := 1204, 3, 45015
	return overview.Overview{
		At: noon,
		Totals: overview.Totals{PerSecond: 41.5, SentLastHour: 71_204, Queued: 41_263, Waiting: 17,
			InFlight: 12, DeadLastDay: &died, Unknown: &unknown, Held: 1, Apps: 3, Workers: 2},
		Apps: []overview.App{
			{AppID: "wx0000000000000001", Name: "旗舰店", State: "open", PerSecond: 41.5,
				Budget: 100, Use: 0.415, Queued: 63, Oldest: ago(2 * time.Second), SentLastHour: 71_204,
				DeadLastHour: 12, P99: 0.84, Points: points,
				Day: &overview.Day{Budget: 500_000, Used: 310_000, Use: 0.62}},
			{AppID: "wx0000000000000002", Name: "一家名字特别长的官方旗舰店客户服务中心",
				State: "held", Budget: 100, Queued: 41_200, Oldest: ago(3 * time.Hour)},
			{AppID: "wx0000000000000003", State: "open", Budget: 100, Points: points[:0]},
		},
		Problems: []overview.Problem{{
			Severity: overview.Critical, Kind: overview.IsHeld, App: "wx0000000000000002",
			Says: overview.Text{
				En: "官方旗舰店 is held: the day's quota of sends is used up, says WeChat's " +
					"quota call. It is " +
					"tried again at 00:00 Beijing time, in 12 h. 41,200 messages wait. 120 of " +
					"the first 200 " +
					"expire before that.",
				Zh: "官方旗舰店 已暂停发送：微信额度接口返回：当日发送额度已用完。将于北京时间 " +
					"00:00 " +
					"自动重试（12 小时后）。41,200 条消息在等待。最前面的 200 条中有 120 " +
					"条会在此之前过期。"},
			Do: overview.Text{En: "Wait for midnight Beijing " +
				"time.", Zh: "可等待北京时间零点重置。"},
			Command: "kefu app quota wx0000000000000002"}},
		Dead: overview.Dead{Count: 1204, More: 2, Groups: []overview.Group{{
			Group: deadletter.Group{ID: "7fb47d95", AppID: "wx0000000000000001", Count: 1201,
				Reason: schema.ReasonRecipient, Errcode: &code, Last: noon},
			Name: "旗舰店", Means: overview.Text{En: "the user has not written for 48 hours",
				Zh: "用户 48 小时内没有发来消息"}}}},
		Campaigns: overview.Campaigns{Rows: []campaign.Status{{
			Record: campaign.Record{Campaign: "double-11", Rows: 100_000},
			State:  campaign.StateFeeding, Queued: 28_796}}},
		Jobs: overview.Jobs{Rows: []replay.Status{{Job: "abcdefgh", State: job.StatePaused,
			Chosen: 1000, Published: 250}}},
	}
}

// printed prints an overview on a terminal.
func printed(t *testing.T, width int, locale string, o overview.Overview) string {
	t.Helper()
	var out bytes.Buffer
	env := cli.New(cli.Process{Out: &out, Err: &out,
		Environ:  []string{"LANG=" + locale, "NO_COLOR=1"},
		Terminal: &cli.Terminal{Out: true, Width: width}})
	c := &command{streams: env.Streams, settings: env.Settings}
	require.NoError(t, c.print(env.Streams, o))
	return out.String()
}

func TestTheFirstScreenFitsItsTerminal(t *testing.T) { // not parallel: times are of the local zone
	local := time.Local
	time.Local = time.UTC
	defer func() { time.Local = local }()
	for name, row := range map[string]struct {
		width  int
		locale string
	}{
		"en-80": {80, "en_US.UTF-8"}, "en-160": {160, "en_US.UTF-8"},
		"zh-80": {80, "zh_CN.UTF-8"}, "zh-160": {160, "zh_CN.UTF-8"}, "ascii-80": {80, "C"},
	} {
		got := printed(t, row.width, row.locale, shown())
		for line := range strings.Lines(got) {
			line = strings.TrimRight(line, "\n")
			require.LessOrEqual(t, uniseg.StringWidth(line), row.width, line)
		}
		file := filepath.Join("testdata", name+".txt")
		if *update {
			require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), got, name)
	}
}

func TestAnOverviewOfNothingSaysThatNothingIsWrong(t *testing.T) {
	t.Parallel()
	require.Equal(t, "0.0/s now, 0 sent in the last hour, 0 calls in flight\n"+
		"0 queued, 0 waiting for their time or retry\n0 apps, 0 held; 0 workers\n"+
		"what died in 24 h is being counted\nNothing is "+
		"wrong.\n", printed(t, 120, "en", overview.Overview{}))
}

func TestOneAppAlone(t *testing.T) {
	t.Parallel()
	o := shown().Of("wx0000000000000001")
	require.Len(t, o.Apps, 1)
	require.Empty(t, o.Problems)
	require.Len(t, o.Dead.Groups, 1)
	require.Empty(t, o.Campaigns.Rows)
}

func TestAnAppThatSentNothingHasAnEmptyLine(t *testing.T) {
	t.Parallel()
	v := &view{blocks: true}
	require.Empty(t, v.hour(nil))
	require.Empty(t, v.hour(make([]pulse.Point, pulse.Minutes)))
	points := make([]pulse.Point, pulse.Minutes)
	points[0].Sent, points[59].Sent = 1, 1000
	require.Equal(t, "▁          █", v.hour(points))
	v.blocks = false
	require.Equal(t, ".          #", v.hour(points))
	require.Equal(t, "1m30s", seconds(90))
	require.Equal(t, "1.3s", seconds(1.26))
	require.Equal(t, "840ms", seconds(0.84))
}
