package campaign

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/notes"
	"github.com/kefuhq/kefu/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	time.Local = time.UTC // the golden files hold times of day
	os.Exit(m.Run())
}

// golden compares what is printed with a file, and sees that no line is wider than the terminal.
func golden(t *testing.T, name string, width int, got string) {
	t.Helper()
	for line := range strings.Lines(got) {
		require.LessOrEqual(t, uniseg.StringWidth(strings.TrimSuffix(line, "\n")), width, line)
	}
	path := filepath.Join("testdata", fmt.Sprintf("%s-%d.txt", name, width))
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got,
		"%s: go test ./internal/cli/campaign -run Golden -update", path)
}

// terminal returns streams to a terminal, and what is printed there.
func terminal(width int) (*cli.Streams, *bytes.Buffer) {
	var out bytes.Buffer
	return cli.New(cli.Process{Out: &out, Err: &out, Environ: []string{"NO_COLOR=1"},
		Terminal: &cli.Terminal{Out: true, Err: true, Width: width}}).Streams, &out
}

var noon = time.Date(2026, 11, 11, 4, 0, 0, 0, time.UTC) // in Beijing

// doubleEleven is a campaign of 200,000, of which some have ended.
func doubleEleven(state campaign.State, sent, dead, queued, open int) campaign.Status {
	s := campaign.Status{
		Record: campaign.Record{
			AppID: "wx0000000000000001", Campaign: "double-11", Upload: "k3vq7a2m", Rows: 200_123,
			Invalid: 3, Repeated: 120, Stored: 200_000, OrderedAt: noon, StartedAt: noon,
			By: "ann@desk-1", PerSecond: 5000,
		},
		State: state, Queued: queued, Open: open,
		Counts: ledger.Counts{Sent: sent, Dead: map[schema.Reason]int{}, Closed: dead / 2},
	}
	if dead > 0 {
		s.Dead[schema.ReasonRecipient] = dead - dead/10
		s.Dead[schema.ReasonRejected] = dead / 10
	}
	s.Cancelled = 200_000 - sent - dead - queued - open
	return s
}

func moving(s campaign.Status, rate float64) campaign.Status {
	s.Rate = rate
	s.ETA = noon.Add(time.Duration(float64(leftOf(s))/rate) * time.Second)
	return s
}

func TestGoldenWatch(t *testing.T) {
	t.Parallel()
	halted := doubleEleven(campaign.StateHalted, 40, 120, 199_800, 40)
	halted.Halted = "111 of the first 160 messages have died, more than 50 %"
	long := moving(doubleEleven(campaign.StateFeeding, 1000, 0, 199_000, 0), 4)
	long.Campaign = strings.Repeat("a-long-name-", 10)
	var frames []string
	for _, f := range []struct {
		what   string
		s      campaign.Status
		beside string
	}{
		{"nobody has begun it", doubleEleven(campaign.StatePlanned, 0, 0, 200_000, 0),
			"no worker for wx0000000000000001"},
		{"it begins", doubleEleven(campaign.StateFeeding, 0, 0, 199_900, 100), ""},
		{"it is under way",
			moving(doubleEleven(campaign.StateFeeding, 60_210, 790, 138_900, 100), 4987), ""},
		{"the broker is away", doubleEleven(campaign.StateFeeding, 60_210, 790, 138_900, 100),
			"the broker does not answer"},
		{"most of it is done",
			moving(doubleEleven(campaign.StateFeeding, 180_000, 2_310, 17_590, 100), 5003), ""},
		{"all is fed", moving(doubleEleven(campaign.StatePublished, 197_420, 2_560, 0, 20), 12), ""},
		{"it is done", doubleEleven(campaign.StateDone, 197_440, 2_560, 0, 0), ""},
		{"it was cancelled", doubleEleven(campaign.StateCancelled, 60_210, 790, 0, 0), ""},
		{"it has halted", halted, ""},
		{"its name is long", long, ""},
	} {
		s, out := terminal(80)
		p := s.Panel()
		p.Draw(frame(f.s, f.beside, p.Width(), noon)...)
		frames = append(frames, "# "+f.what+"\n"+out.String())
	}
	golden(t, "watch", 80, strings.Join(frames, "\n"))
}

func TestGoldenTables(t *testing.T) {
	t.Parallel()
	under := moving(doubleEleven(campaign.StateFeeding, 60_210, 790, 138_900, 100), 4987)
	halted := doubleEleven(campaign.StateHalted, 40, 120, 199_800, 40)
	halted.Campaign = "notice-7"
	halted.Halted = "111 of the first 160 messages have died, more than 50 %"
	done := doubleEleven(campaign.StateDone, 197_430, 2_560, 0, 0)
	done.Campaign = "spring-festival-reminder-2027-of-all-members"
	done.FinishedAt = noon.Add(time.Hour)
	done.SkipClosed, done.Quiet = 10, campaign.Quiet{From: 22 * time.Hour, Until: 8 * time.Hour}
	done.Notes = notes.List{{Text: "the person was forgotten", Count: 2}}
	expired := doubleEleven(campaign.StateDone, 199_199, 0, 0, 0)
	expired.Dead[schema.ReasonExpired], expired.Cancelled = 801, 0
	expired.Notes = notes.List{{Text: "expired before its turn", Count: 800}}
	quiet := doubleEleven(campaign.StatePlanned, 0, 0, 200_000, 0)
	quiet.Quiet = campaign.Quiet{From: 0, Until: 23*time.Hour + 59*time.Minute}
	for _, width := range []int{80, 160} {
		s, out := terminal(width)
		rows := []campaign.Status{under, halted, done}
		require.NoError(t, cli.List(s, rows, listColumns(false, noon)))
		golden(t, "list", width, out.String())
		for name, status := range map[string]campaign.Status{
			"under-way": under, "halted": halted, "done": done, "expired": expired, "quiet": quiet,
		} {
			s, out := terminal(width)
			require.NoError(t, cli.Record(s, status, statusFields(status, noon)))
			golden(t, "status-"+name, width, out.String())
		}
	}
}
