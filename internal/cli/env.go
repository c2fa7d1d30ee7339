package cli

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// Process is what a run of the program finds around it.
type Process struct {
	In       io.Reader
	Out, Err io.Writer
	Environ  []string
	Version  string // of a release; empty: what the Go tool knows about the build

	// Hangups begins to deliver SIGHUP, which otherwise ends the process, until stop is called.
	Hangups func() (hangups <-chan os.Signal, stop func())

	Search   []string  // where to look for the configuration file; nil: the usual places
	Terminal *Terminal // what the streams are connected to; nil: they are asked
}

// Env is one run of the program, as its commands see it.
type Env struct {
	Streams  *Streams
	Settings *Settings
	Broker   *Broker
	Build    Build
	Hangups  func() (hangups <-chan os.Signal, stop func())

	started bool // a command's own code was reached
}

// New returns the Env of a run.
func New(p Process) *Env {
	streams := newStreams(p)
	settings := &Settings{Environ: p.Environ, search: p.Search, warn: streams.Warn}
	return &Env{
		Streams: streams, Settings: settings, Broker: &Broker{settings: settings},
		Build:   readBuild(p.Version),
		Hangups: p.Hangups,
	}
}

// Execute runs a command line and returns the exit code.
func (e *Env) Execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetArgs(args)
	ctx, e.Broker.refuse = context.WithCancelCause(ctx)
	defer e.Broker.refuse(nil)
	cmd, err := root.ExecuteContextC(ctx)
	return e.exit(cmd, refused(ctx, err))
}

// Frame makes a tree of commands the program's: the flags of every command, the streams, and one
// way to treat mistakes on the command line.
func (e *Env) Frame(root *cobra.Command) {
	root.SetIn(e.Streams.In)
	root.SetOut(e.Streams.Out)
	root.SetErr(e.Streams.Err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	e.addFlags(root)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	strictAboutWords(root)
	e.markStart(root)
}

// addFlags adds what every command understands.
func (e *Env) addFlags(root *cobra.Command) {
	s, flags := e.Streams, root.PersistentFlags()
	flags.StringVar(&e.Settings.file, "config", "", "configuration `file`")
	flags.StringArrayVar(&e.Settings.set, "set", nil,
		"set a configuration `key=value`, such as worker.grace=10s; may be repeated")
	flags.StringVar(&e.Settings.AppID, "app", "",
		"`appid` of the app; may be left out when there is one")
	flags.VarP(&s.format, "output", "o", "`format` of what is printed: table, json or ndjson")
	flags.BoolVar(&s.Yes, "yes", false, "do what is asked without asking back")
	flags.BoolVar(&s.Quiet, "quiet", false, "print results and errors only")
	flags.BoolVar(&s.noColor, "no-color", false, "no colours, as with NO_COLOR set")
	Complete(root, "output", func() []string { return []string{"table", "json", "ndjson"} })
	Complete(root, "app", e.Settings.appChoices)
	Complete(root, "set", settingChoices)
	_ = root.MarkPersistentFlagFilename("config", "yaml", "yml") // the flag was added above
}

// markStart has every command note that its own code was reached: an error before that is one of
// usage.
func (e *Env) markStart(cmd *cobra.Command) {
	if runE := cmd.RunE; runE != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := nothingEmpty(cmd, args); err != nil {
				return err
			}
			e.started = true
			return runE(cmd, args)
		}
	}
	for _, child := range cmd.Commands() {
		e.markStart(child)
	}
}
