// Package bench is `kefu bench`: what kefu does with a load, beside a loop written by hand.
package bench

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/bench"
	"github.com/kefuhq/kefu/internal/cli"
)

// measure is the command.
type measure struct {
	streams  *cli.Streams
	settings *cli.Settings

	load     bench.Load
	compare  bool
	against  string
	rounds   int
	nats     string
	replicas int
	profiles string
}

// New returns the command.
func New(env *cli.Env) *cobra.Command {
	b := &measure{streams: env.Streams, settings: env.Settings, load: defaultLoad}
	cmd := &cobra.Command{
		Use:     "bench",
		Short:   "Measure what kefu does with a load, beside a loop written by hand",
		GroupID: cli.GroupTool,
		Long: `Publishes a load, has workers deliver it to the fake WeChat API (see kefu sandbox),
and reports throughput, the time from publishing to the API's receipt, CPU and memory of the
workers, whether the budget was kept, and how often each intent was delivered. Nothing reaches
WeChat, no configuration is read, and the broker is its own unless --nats-url names one.

A load is a backlog that waits at the start (--backlog, --live-backlog: how fast is it drained?), a
stream that is offered at a rate (--rate, --duration: how long do messages take?), or both (does a
campaign delay the conversation?).

Workers and broker are processes of their own, so that each one's CPU and memory are its own; the
API and the publisher run in this one. On a small machine they take the CPU from each other: compare
figures of one run, not of two. --compare does the same with a bare loop (consume, check the JSON,
POST, read errcode, acknowledge: no order, no budget, no retry schedule, no ledger, no receipts),
--against with kefu under a load that differs. Contenders take turns; figures are medians of
--rounds.

Exit code 4: not all was delivered, or something was lost or delivered twice.`,
		Example: `  kefu bench --compare
  kefu bench --backlog 60000 --latency 50ms --concurrency 512 --compare
  kefu bench --rate 200 --duration 20s --compare --rounds 3
  kefu bench --latency 50ms --workers 2 --against workers=1
  kefu bench --backlog 200000 --per-second 1000 --rate 20 --live-share 1 --against backlog=0
  kefu bench --apps 300 --backlog 30000 --live-backlog 30000 --against apps=1
  kefu bench --apps 50 --slow-apps 4 --failing-apps 3 --rate 500 --against slow-apps=0,failing-apps=0`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd) },
	}
	flags := cmd.Flags()
	addLoadFlags(flags, &b.load)
	cli.FormerNames(flags, formerNames())
	flags.BoolVar(&b.compare, "compare", false, "measure a bare loop beside it")
	flags.StringVar(&b.against, "against", "",
		"measure kefu beside it under another load: `flag=value,…`, such as workers=1")
	flags.IntVar(&b.rounds, "rounds", 1,
		"how often each contender has its turn; figures are medians")
	flags.StringVar(&b.nats, "nats-url", "",
		"`URL` of a broker to use, which must hold no streams of kefu; its CPU is not seen")
	flags.IntVar(&b.replicas, "replicas", 1,
		"copies of each stream on a cluster that --nats-url names")
	flags.StringVar(&b.profiles, "profiles", "", "`folder` for CPU profiles of workers and loops")
	_ = flags.MarkHidden("profiles")
	for flag, words := range map[string][]string{
		"ledger": {"full", "off"}, "receipts": {"all", "failures", "off"},
	} {
		cli.Complete(cmd, flag, func() []string { return words })
	}
	cmd.AddCommand(newBroker(env), newWorker(env), newLoop(env))
	return cmd
}

func (b *measure) run(cmd *cobra.Command) error {
	contenders, err := b.contenders()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	engine := bench.Bench{
		Program: program, Environ: withoutSettings(b.settings.Environ), NATS: b.nats,
		Replicas: b.replicas, Profiles: b.profiles,
		Progress: func(s string) { b.streams.Notef("%s", s) },
	}
	report, err := engine.Run(cmd.Context(), contenders, b.rounds)
	if err != nil {
		return err
	}
	if err := b.print(report); err != nil {
		return err
	}
	if !report.Complete() {
		return cli.Partlyf("not every intent was delivered, and delivered once: " +
			"see posts per intent, delivered and lost")
	}
	return nil
}

// contenders returns kefu, and what it is to be compared with.
func (b *measure) contenders() ([]bench.Contender, error) {
	if b.compare && b.against != "" {
		return nil, cli.Usagef("--compare and --against are two comparisons: choose one")
	}
	if b.rounds < 1 {
		return nil, cli.Usagef("--rounds must be at least 1")
	}
	if b.replicas != 1 && b.nats == "" {
		return nil, cli.Usagef("--replicas is for a cluster: name it with --nats-url")
	}
	if b.load.Backlog == 0 && b.load.LiveBacklog == 0 && b.load.Rate == 0 {
		b.load.Backlog = defaultBacklog
	}
	list := []bench.Contender{{Name: "kefu", Load: b.load}}
	switch {
	case b.compare:
		list = append(list, bench.Contender{Name: "bare loop", Bare: true, Load: b.load})
	case b.against != "":
		other := b.load
		if err := changeLoad(&other, b.against); err != nil {
			return nil, err
		}
		list = append(list, bench.Contender{Name: b.against, Load: other})
	}
	for _, c := range list {
		if err := checkLoad(&c.Load); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// withoutSettings returns an environment without kefu's own variables: the processes of a load test
// must not find their way to the broker that this shell is set up for.
func withoutSettings(environ []string) []string {
	var out []string
	for _, entry := range environ {
		if !strings.HasPrefix(entry, "KEFU_") {
			out = append(out, entry)
		}
	}
	return out
}
