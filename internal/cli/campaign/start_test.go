package campaign

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
)

func TestACheckpointThatIsNotStoredIsNotHiddenBehindAnInterrupt(t *testing.T) {
	t.Parallel()
	cause := fmt.Errorf("%w: %w", campaign.ErrCheckpoint, context.DeadlineExceeded)
	stopped := campaign.Result{Record: campaign.Record{Campaign: "november", Rows: 40, Next: 20,
		StartedAt: time.Now()}}
	for what, c := range map[string]struct {
		err  error
		says []string
		not  string
	}{
		"a plain interrupt": {context.Canceled,
			[]string{"Stopped at row 20 of 40. The same command goes on from there.",
				"kefu: interrupted\n"}, "stored"},
		"and no checkpoint": {errors.Join(context.Canceled, cause), []string{
			"Stopped at row 20 of 40. That is not on record: the same command goes on from an earlier row.",
			"kefu: interrupted\n",
			"kefu: how far the campaign has come could not be stored: context deadline exceeded\n",
		}, "from there"},
		"an error that the interrupt has caused": {fmt.Errorf("%w: %w", campaign.ErrAway,
			context.Canceled), []string{"kefu: interrupted\n"}, "away"},
		"what may be doubled": {campaign.ErrMayDouble, []string{
			"Stopped at row 20 of 40. The same command says how many users may get the message " +
				"twice, and asks before it goes on from there.",
			"kefu: some rows may have been published before, longer ago than repeats are recognised\n",
		}, "The same command goes on"},
		"a file that changed": {campaign.ErrChanged,
			[]string{"Nothing of the changed file was published.",
				"kefu: the file was changed after it was checked\n"}, ""},
	} {
		var out, said strings.Builder
		env := cli.New(cli.Process{Out: &out, Err: &said})
		s := &start{streams: env.Streams}
		cmd := &cobra.Command{RunE: func(*cobra.Command,
			[]string) error {
			return s.finish(stopped, c.err)
		}}
		env.Frame(cmd)
		require.Equal(t, cli.ExitFailed, env.Execute(t.Context(), cmd, nil), what)
		for _, says := range c.says {
			require.Contains(t, said.String(), says, what)
		}
		if c.not != "" {
			require.NotContains(t, said.String(), c.not, what)
		}
	}
}
