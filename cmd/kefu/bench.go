package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kefuhq/kefu/internal/bench"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/sandbox"
)

// benchCmd is `kefu bench`.
type benchCmd struct {
	cli      *cli
	load     bench.Load
	compare  bool
	against  string
	rounds   int
	nats     string
	replicas int
	profiles string
}

func newBenchCmd(c *cli) *cobra.Command {
	b := &benchCmd{cli: c, load: defaultLoad}
	cmd := &cobra.Command{
		Use:     "bench",
		Short:   "Measure what kefu does with a load, beside a loop written by hand",
		GroupID: groupTool,
		Long: `Publishes a load, has workers deliver it to the fake WeChat API (see kefu sandbox), and reports throughput, the time from
publishing to the API's receipt, CPU and memory of the workers, whether the budget was kept, and how often each intent was
delivered. Nothing reaches WeChat, no configuration is read, and the broker is its own unless --nats names one.

A load is a backlog that waits at the start (--backlog, --live-backlog: how fast is it drained?), a stream that is offered
at a rate (--rate, --duration: how long do messages take?), or both (does a campaign delay the conversation?).

Workers and broker are processes of their own, so that each one's CPU and memory are its own; the API and the publisher run in
this one. On a small machine they take the CPU from each other: compare figures of one run, not of two. --compare does the
same with a bare loop (consume, check the JSON, POST, read errcode, acknowledge: no order, no budget, no retry schedule, no
ledger, no receipts), --against with kefu under a load that differs. Contenders take turns; figures are medians of --rounds.

Exit code 4: not all was delivered, or something was lost or delivered twice.`,
		Example: `  kefu bench --compare
  kefu bench --backlog 60000 --latency 50ms --concurrency 512 --compare
  kefu bench --rate 200 --duration 20s --compare --rounds 3
  kefu bench --latency 50ms --workers 2 --against workers=1
  kefu bench --backlog 200000 --limit 1000 --latency 20ms --rate 20 --live-share 1 --against backlog=0
  kefu bench --apps 300 --backlog 30000 --live-backlog 30000 --against apps=1
  kefu bench --apps 50 --slow-apps 4 --failing-apps 3 --held-apps 3 --rate 500 --against slow-apps=0,failing-apps=0,held-apps=0`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd) },
	}
	flags := cmd.Flags()
	addLoadFlags(flags, &b.load)
	flags.BoolVar(&b.compare, "compare", false, "measure a bare loop beside it")
	flags.StringVar(&b.against, "against", "", "measure kefu beside it under another load: `flag=value,…`, such as workers=1")
	flags.IntVar(&b.rounds, "rounds", 1, "how often each contender has its turn; figures are medians")
	flags.StringVar(&b.nats, "nats", "", "`URL` of a broker to use, which must hold no streams of kefu; its CPU is not seen")
	flags.IntVar(&b.replicas, "replicas", 1, "copies of each stream on a cluster that --nats names")
	flags.StringVar(&b.profiles, "profiles", "", "`folder` for CPU profiles of workers and loops")
	_ = flags.MarkHidden("profiles")
	for flag, words := range map[string][]string{"ledger": {"full", "off"}, "receipts": {"all", "failures", "off"}} {
		c.complete(cmd, flag, func() []string { return words })
	}
	cmd.AddCommand(newBenchBrokerCmd(c), newBenchWorkerCmd(c), newBenchLoopCmd(c))
	return cmd
}

// defaultLoad is that of `kefu bench` without flags. The budget is more than any machine does, so that it is asked and never met.
var defaultLoad = bench.Load{
	Apps: 1, Recipients: 10000, Duration: 10 * time.Second, LiveShare: 0.5,
	Workers: 1, Concurrency: 256, PerSecond: 100_000, Burst: 100, Shards: 4,
	Receipts: string(config.ReceiptsAll), Ledger: string(config.LedgerFull), LogLevel: "warn",
}

// defaultBacklog is what is drained when neither a backlog nor a rate is asked for.
const defaultBacklog = 20_000

// addLoadFlags binds the flags that --against may change, with what l holds as their defaults.
func addLoadFlags(flags *pflag.FlagSet, l *bench.Load) {
	flags.IntVar(&l.Apps, "apps", l.Apps, "apps that intents are published to")
	flags.IntVar(&l.SlowApps, "slow-apps", l.SlowApps, "how many of them have an API that takes 2 s")
	flags.IntVar(&l.FailingApps, "failing-apps", l.FailingApps, "how many of them get nothing but errcode -1")
	flags.IntVar(&l.HeldApps, "held-apps", l.HeldApps, "how many of them are held by an operator")
	flags.IntVar(&l.IdleApps, "idle-apps", l.IdleApps, "further apps that nothing is published to")
	flags.IntVar(&l.Recipients, "recipients", l.Recipients, "recipients of each app")
	flags.IntVar(&l.Backlog, "backlog", l.Backlog, "bulk intents that wait at the start (default 20000 without --live-backlog and --rate)")
	flags.IntVar(&l.LiveBacklog, "live-backlog", l.LiveBacklog, "live intents that wait at the start")
	flags.Float64Var(&l.Rate, "rate", l.Rate, "intents published each second over all apps, for --duration")
	flags.DurationVar(&l.Duration, "duration", l.Duration, "how long --rate is kept up")
	flags.Float64Var(&l.LiveShare, "live-share", l.LiveShare, "share of the live ones among those of --rate")
	flags.Var((*latencyFlag)(&l.Latency), "latency", "how long each send takes: a `duration` (50ms) or a range (20ms..80ms)")
	flags.Float64Var(&l.Faults, "faults", l.Faults, "share of the sends that are answered errcode -1")
	flags.IntVar(&l.Workers, "workers", l.Workers, "worker processes")
	flags.IntVar(&l.Concurrency, "concurrency", l.Concurrency, "calls in flight in each of them")
	flags.IntVar(&l.AppConcurrency, "app-concurrency", l.AppConcurrency, "of these, for one app at most; 0: all")
	flags.Float64Var(&l.PerSecond, "limit", l.PerSecond, "budget of each app, sends a second")
	flags.IntVar(&l.Burst, "burst", l.Burst, "burst of each app")
	flags.IntVar(&l.Shards, "live-shards", l.Shards, "live shards of each app")
	flags.BoolVar(&l.SyncAlways, "sync-always", l.SyncAlways, "have the broker write to the disk before it acknowledges, as deploy/ sets it")
	flags.StringVar(&l.Receipts, "receipts", l.Receipts, "which receipts are published: all, failures or off")
	flags.StringVar(&l.Ledger, "ledger", l.Ledger, "the guard against double sends: full or off")
	flags.StringVar(&l.LogLevel, "log-level", l.LogLevel, "what the workers log: debug, info, warn or error; info is a line for each intent")
	flags.DurationVar(&l.Idle, "idle", l.Idle, "watch for so long, before the load, what it costs to wait for one")
}

// latencyFlag is a range of waiting times on the command line.
type latencyFlag sandbox.Latency

// Set is the flag being given.
func (f *latencyFlag) Set(s string) error {
	latency, err := parseLatency(s)
	*f = latencyFlag(latency)
	return err
}

func (f *latencyFlag) String() string {
	switch {
	case *f == latencyFlag{}:
		return ""
	case f.Max <= f.Min:
		return f.Min.String()
	}
	return f.Min.String() + ".." + f.Max.String()
}

// Type is what the help calls the value.
func (f *latencyFlag) Type() string { return "duration" }

func (b *benchCmd) run(cmd *cobra.Command) error {
	contenders, err := b.contenders()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	engine := bench.Bench{
		Program: program, Environ: withoutSettings(b.cli.environ), NATS: b.nats, Replicas: b.replicas, Profiles: b.profiles,
		Progress: func(s string) { b.cli.notef("%s", s) },
	}
	report, err := engine.Run(cmd.Context(), contenders, b.rounds)
	if err != nil {
		return err
	}
	if err := b.print(report); err != nil {
		return err
	}
	if !report.Complete() {
		return partlyf("not every intent was delivered, and delivered once: see posts per intent, delivered and lost")
	}
	return nil
}

// contenders are kefu, and what it is to be compared with.
func (b *benchCmd) contenders() ([]bench.Contender, error) {
	if b.compare && b.against != "" {
		return nil, usagef("--compare and --against are two comparisons: choose one")
	}
	if b.rounds < 1 {
		return nil, usagef("--rounds must be at least 1")
	}
	if b.replicas != 1 && b.nats == "" {
		return nil, usagef("--replicas is for a cluster: name it with --nats")
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

func checkLoad(l *bench.Load) error {
	for _, choice := range []struct {
		flag, value string
		words       []string
	}{
		{"--receipts", l.Receipts, []string{"all", "failures", "off"}},
		{"--ledger", l.Ledger, []string{"full", "off"}},
		{"--log-level", l.LogLevel, []string{"debug", "info", "warn", "error"}},
	} {
		if !slices.Contains(choice.words, choice.value) {
			return usagef("%s %q is not one of %s", choice.flag, choice.value, strings.Join(choice.words, ", "))
		}
	}
	if err := l.Check(); err != nil {
		return usagef("%w", err)
	}
	return nil
}

// changeLoad applies the flags of --against.
func changeLoad(l *bench.Load, changes string) error {
	flags := pflag.NewFlagSet("against", pflag.ContinueOnError)
	addLoadFlags(flags, l)
	for change := range strings.SplitSeq(changes, ",") {
		name, value, found := strings.Cut(strings.TrimLeft(strings.TrimSpace(change), "-"), "=")
		if !found || flags.Lookup(name) == nil {
			return usagef("--against %q: want flags of the load with a value, such as workers=1 or apps=1,backlog=0", change)
		}
		if err := flags.Set(name, value); err != nil {
			return usagef("--against: %w", err)
		}
	}
	return nil
}

// withoutSettings is an environment without kefu's own variables: the processes of a load test must not find their way to the broker
// that this shell is set up for.
func withoutSettings(environ []string) []string {
	var out []string
	for _, entry := range environ {
		if !strings.HasPrefix(entry, "KEFU_") {
			out = append(out, entry)
		}
	}
	return out
}

func (b *benchCmd) print(report *bench.Report) error {
	if b.cli.format != formatTable {
		return b.cli.value(report)
	}
	ratios := make(map[string]bench.Comparison)
	for _, r := range report.Ratios {
		ratios[r.Key] = r
	}
	columns := []column[bench.Measure]{{title: "", cell: func(m bench.Measure) string { return m.Name }}}
	for _, s := range report.Contenders {
		columns = append(columns, column[bench.Measure]{title: s.Name, right: true, cell: func(m bench.Measure) string {
			v, ok := s.Medians[m.Key]
			if !ok {
				return ""
			}
			return decimal(v, m.Digits)
		}})
	}
	if len(report.Contenders) > 1 {
		columns = append(columns, column[bench.Measure]{title: "ratio", right: true, cell: func(m bench.Measure) string {
			r, ok := ratios[m.Key]
			if !ok {
				return ""
			}
			if r.Low == r.High {
				return decimal(r.Median, 2)
			}
			return decimal(r.Median, 2) + " [" + decimal(r.Low, 2) + "–" + decimal(r.High, 2) + "]"
		}})
	}
	var rows []bench.Measure
	for _, m := range bench.Measures {
		for _, s := range report.Contenders {
			if _, ok := s.Medians[m.Key]; ok {
				rows = append(rows, m)
				break
			}
		}
	}
	if err := list(b.cli, rows, columns); err != nil {
		return err
	}
	b.cli.notef("%s, %s, %s", count(report.CPUs, "CPU"), report.Platform, count(b.rounds, "round"))
	if report.Contenders[0].Medians["worker_cpu_us"] == 0 {
		b.cli.notef("CPU and memory are not known here: there is no /proc")
	}
	return nil
}

// decimal is a number with so many digits after the point, and thousands apart.
func decimal(v float64, digits int) string {
	if digits == 0 {
		return grouped(int64(v + 0.5))
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}
