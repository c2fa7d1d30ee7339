package campaign

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
)

func TestMaxErrorsIsAShareOrANumber(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]campaign.Halt{
		"50%": {Share: 0.5}, "20%": {Share: 0.2}, "2.5 %": {Share: 0.025}, "100%": {Share: 1},
		"0%": {}, "0": {}, "500": {Deaths: 500},
	} {
		got, err := parseMaxErrors(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "x", "-1", "101%", "-5%", "NaN%", "1.5", "0x10", "%"} {
		_, err := parseMaxErrors(text)
		require.ErrorContains(t, err, "is not a share", text)
	}
}

func TestHowManyMissTheDeadline(t *testing.T) {
	t.Parallel()
	now := noon
	for what, c := range map[string]struct {
		n     int
		terms campaign.Terms
		speed campaign.Speed
		late  int
	}{
		"there is no deadline": {1000, campaign.Terms{}, campaign.Speed{PerSecond: 1}, 0},
		"all fit":              {1000, campaign.Terms{ExpiresIn: time.Hour}, campaign.Speed{PerSecond: 1}, 0},
		"a part does not": {1000, campaign.Terms{ExpiresIn: 10 * time.Minute},
			campaign.Speed{PerSecond: 1}, 400},
		"it counts from the time to send": {1000,
			campaign.Terms{SendAt: now.Add(time.Hour), ExpiresIn: 10 * time.Minute},
			campaign.Speed{PerSecond: 1}, 400},
		"the deadline is a time": {1000, campaign.Terms{ExpiresAt: now.Add(10 * time.Minute)},
			campaign.Speed{PerSecond: 1}, 400},
		"the day's budget is too small": {1000, campaign.Terms{ExpiresIn: time.Hour},
			campaign.Speed{PerSecond: 100, PerDay: 300}, 700},
		"it is quiet until then": {1000, campaign.Terms{ExpiresIn: time.Hour},
			campaign.Speed{PerSecond: 100, Quiet: campaign.Quiet{From: 10 * time.Hour,
				Until: 14 * time.Hour}}, 1000},
		"nothing bounds it": {1000, campaign.Terms{ExpiresIn: time.Second}, campaign.Speed{}, 0},
	} {
		require.InDelta(t, c.late, late(c.n, c.terms, c.speed, now), 1, what)
	}
}

func TestWhenACampaignIsOver(t *testing.T) {
	t.Parallel()
	at := func(second int) time.Time { return noon.Add(time.Duration(second) * time.Second) }
	paused := doubleEleven(campaign.StatePaused, 10, 0, 199_990, 0)
	drains := doubleEleven(campaign.StatePaused, 20, 0, 199_980, 0)
	for what, c := range map[string]struct {
		seen []campaign.Status
		over bool
	}{
		"it is fed": {[]campaign.Status{
			doubleEleven(campaign.StateFeeding, 0, 0, 200_000, 0)}, false},
		"all is fed": {[]campaign.Status{
			doubleEleven(campaign.StatePublished, 0, 0, 0, 200_000)}, false},
		"it is done":       {[]campaign.Status{doubleEleven(campaign.StateDone, 200_000, 0, 0, 0)}, true},
		"it was cancelled": {[]campaign.Status{doubleEleven(campaign.StateCancelled, 9, 0, 0, 0)}, true},
		"some are in flight": {[]campaign.Status{
			doubleEleven(campaign.StateCancelled, 9, 0, 0, 3)}, false},
		"it was paused just now": {[]campaign.Status{paused}, false},
		"what was queued ends":   {[]campaign.Status{paused, paused, paused, drains}, false},
		"nothing comes any more": {[]campaign.Status{paused, paused, paused, paused}, true},
	} {
		var p progress
		for i, s := range c.seen {
			require.Equal(t, c.over && i == len(c.seen)-1, p.over(s, at(i+1)), "%s, look %d", what, i+1)
		}
	}
}

func TestHowWatchingEnds(t *testing.T) {
	t.Parallel()
	halted := doubleEleven(campaign.StateHalted, 1, 150, 199_849, 0)
	halted.Halted = "150 of the first 151 messages have died"
	for what, c := range map[string]struct {
		s    campaign.Status
		code int
		says string
	}{
		"all was sent": {doubleEleven(campaign.StateDone, 200_000, 0, 0, 0), cli.ExitDone, ""},
		"some died":    {doubleEleven(campaign.StateDone, 199_000, 1_000, 0, 0), cli.ExitDone, ""},
		"all died": {doubleEleven(campaign.StateDone, 0, 200_000, 0, 0), cli.ExitFailed,
			"nothing was sent: dead 200,000: recipient 180,000"},
		"it goes on": {doubleEleven(campaign.StateFeeding, 5, 0, 199_995, 0), cli.ExitPartly,
			"campaign double-11 goes on"},
		"nobody has begun it": {doubleEleven(campaign.StatePlanned, 0, 0, 200_000, 0), cli.ExitPartly,
			"campaign double-11 is stored"},
		"it is paused": {doubleEleven(campaign.StatePaused, 5, 0, 199_995, 0), cli.ExitPartly,
			"kefu campaign resume double-11"},
		"it has halted": {halted, cli.ExitPartly, "150 of the first 151 messages have died; kefu"},
		"it was cancelled": {doubleEleven(campaign.StateCancelled, 5, 0, 0, 0), cli.ExitPartly,
			"199,995 messages were not sent"},
		"it was cancelled before it began": {doubleEleven(campaign.StateCancelled, 0, 0, 0, 0),
			cli.ExitFailed, "nothing was sent"},
		"its file is not stored": {campaign.Status{State: campaign.StateUploading}, cli.ExitPartly,
			"nothing of it is sent yet"},
	} {
		err := ending(c.s)
		code := cli.ExitDone
		if err != nil {
			code = cli.ExitFailed
			require.ErrorContains(t, err, c.says, what)
		}
		var exit *cli.ExitError
		if errors.As(err, &exit) {
			code = exit.Code
		}
		require.Equal(t, c.code, code, what)
	}
}

func TestAReadThatWaitsEndsWithTheCommand(t *testing.T) {
	t.Parallel()
	never, hang := io.Pipe()
	defer hang.Close() //nolint:errcheck // nobody reads
	ctx, cancel := context.WithCancel(t.Context())
	in := interruptible(ctx, never)
	defer in.Close() //nolint:errcheck // it always can be
	go cancel()
	_, err := in.Read(make([]byte, 8))
	require.ErrorIs(t, err, context.Canceled)
}
