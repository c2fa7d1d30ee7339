package main

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/kefuhq/kefu/internal/config"
)

// cli is one run of the program: where it reads and writes, what was asked of every command, and what they share.
type cli struct {
	in      io.Reader
	out     io.Writer // results only, so that they can be piped
	err     io.Writer // everything else: notes, questions, logs, errors
	environ []string
	tty     terminal

	// Flags of every command.
	configFile string
	settings   []string // KEY=VALUE of the configuration
	appID      string
	format     format
	yes        bool
	quiet      bool
	noColor    bool

	search []string // where to look for the file; nil means the usual places
	loaded *config.Config

	needsSecrets bool // the command reads AppSecrets: warn of files that are missing or that others can read
	started      bool // a command's own code was reached
}

// terminal is what is known about the other end of in, out and err.
type terminal struct {
	in, out, err bool
	width        int // of out, in columns; 0 when it is no terminal
}

func newCLI(environ []string, in io.Reader, out, err io.Writer) *cli {
	c := &cli{in: in, out: out, err: err, environ: environ, format: formatTable}
	c.tty.in, _ = isTerminal(in)
	c.tty.err, _ = isTerminal(err)
	c.tty.out, c.tty.width = isTerminal(out)
	return c
}

// isTerminal tells whether a stream is one, and how wide.
func isTerminal(stream any) (yes bool, width int) {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return true, 0
	}
	return true, width
}

// getenv is a variable of this run's environment, empty when not set.
func (c *cli) getenv(name string) string {
	for _, entry := range slices.Backward(c.environ) {
		if key, value, ok := strings.Cut(entry, "="); ok && key == name {
			return value
		}
	}
	return ""
}

// execute runs one command line and returns the exit code.
func (c *cli) execute(ctx context.Context, args []string) int {
	root := newRootCmd(c)
	root.SetArgs(negativeCodesLast(root, args))
	cmd, err := root.ExecuteContextC(ctx)
	return c.exit(cmd, err)
}

// The groups of commands in the help.
const (
	groupRun    = "run"
	groupIntent = "intent"
	groupApp    = "app"
	groupSetup  = "setup"
	groupTool   = "tool"
)

func newRootCmd(c *cli) *cobra.Command {
	root := &cobra.Command{
		Use:   "kefu",
		Short: "Deliver WeChat customer-service messages from NATS JetStream",
		Long: `kefu takes send-intents from NATS JetStream and delivers them through WeChat's customer-service API:
in order per user, within each account's rate, once, and with a clear end for every message.

Configuration: --config FILE, else KEFU_CONFIG, else ./kefu.yaml, else /etc/kefu/kefu.yaml;
KEFU_ variables win over the file (KEFU_NATS_URL for nats.url), --set wins over both.

Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 nothing matched, 4 partly done.`,
		Example: `  kefu dev                            everything in one process, to try it out
  kefu errcode 45015                  what a code means and what to do
  kefu validate packets.ndjson        check messages before publishing them
  kefu sandbox                        a fake WeChat API to develop against
  kefu config reference --example     a configuration file to start from`,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run:"},
		&cobra.Group{ID: groupIntent, Title: "Messages:"},
		&cobra.Group{ID: groupApp, Title: "Apps and operation:"},
		&cobra.Group{ID: groupSetup, Title: "Set up:"},
		&cobra.Group{ID: groupTool, Title: "Tools:"},
	)
	root.SetHelpCommandGroupID(groupTool)
	root.SetCompletionCommandGroupID(groupTool)
	c.addFlags(root)
	root.AddCommand(
		newAppCmd(c),
		newBenchCmd(c),
		newCampaignCmd(c),
		newCancelCmd(c),
		newConfigCmd(c),
		newDeadCmd(c),
		newDevCmd(c),
		newErrcodeCmd(c),
		newFindCmd(c),
		newKFAccountCmd(c),
		newPoolCmd(c),
		newSandboxCmd(c),
		newSendCmd(c),
		newSetupCmd(c),
		newTypingCmd(c),
		newValidateCmd(c),
		newVersionCmd(c),
		newWorkerCmd(c),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	strictAboutWords(root)
	c.markStart(root)
	return root
}

// addFlags adds what every command understands.
func (c *cli) addFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&c.configFile, "config", "", "configuration `file`")
	flags.StringArrayVar(&c.settings, "set", nil, "set a configuration `key=value`, such as worker.grace=10s; may be repeated")
	flags.StringVar(&c.appID, "app", "", "`appid` of the app; may be left out when there is one")
	flags.VarP(&c.format, "output", "o", "`format` of what is printed: table, json or ndjson")
	flags.BoolVar(&c.yes, "yes", false, "do what is asked without asking back")
	flags.BoolVar(&c.quiet, "quiet", false, "print results and errors only")
	flags.BoolVar(&c.noColor, "no-color", false, "no colours, as with NO_COLOR set")
	c.complete(root, "output", func() []string { return []string{"table", "json", "ndjson"} })
	c.complete(root, "app", c.appChoices)
	c.complete(root, "set", settingChoices)
	_ = root.MarkPersistentFlagFilename("config", "yaml", "yml") // the flag was added above
}

// complete lets the shell complete a flag of cmd with what choices returns.
func (c *cli) complete(cmd *cobra.Command, flag string, choices func() []string) {
	// It fails only for a flag that does not exist or is completed twice, which TestEveryFlagIsDescribed would show.
	_ = cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return choices(), cobra.ShellCompDirectiveNoFileComp
	})
}

// markStart has every command note that its own code was reached: an error before that is one of usage.
func (c *cli) markStart(cmd *cobra.Command) {
	if runE := cmd.RunE; runE != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := nothingEmpty(cmd, args); err != nil {
				return err
			}
			c.started = true
			return runE(cmd, args)
		}
	}
	for _, child := range cmd.Commands() {
		c.markStart(child)
	}
}

// nothingEmpty refuses a flag or an argument that is there and empty: a script forgot to set its variable, and `--openid ""` would
// replay what died for everybody.
func nothingEmpty(cmd *cobra.Command, args []string) (err error) {
	if slices.Contains(args, "") {
		return usagef("an argument is empty: is a variable not set?")
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		many, isMany := f.Value.(pflag.SliceValue)
		switch {
		case err != nil:
		case isMany && slices.Contains(many.GetSlice(), ""):
			err = usagef("--%s has an empty value: is a variable not set?", f.Name)
		case isMany && len(many.GetSlice()) == 0, f.Value.Type() == "string" && f.Value.String() == "":
			err = usagef("--%s is empty: is a variable not set?", f.Name)
		}
	})
	return err
}

// newGroupCmd is a command that only holds others: alone it prints its help, and a word it does not know is an error, which cobra
// by itself reports for the root command only.
func newGroupCmd(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(children...)
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := ""
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = ", did you mean " + strings.Join(near, " or ") + "?"
		}
		return usagef("unknown command %q for %q%s", args[0], cmd.CommandPath(), hint)
	}
	return cmd
}

// strictAboutWords has cobra's own commands treat a word that they do not know as an error, too.
func strictAboutWords(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "completion":
			cmd.Args = nil
			newGroupCmd(cmd)
		case "help":
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return usagef("unknown command %q for help", strings.Join(args, " "))
				}
				return nil
			}
		}
	}
}

// arguments checks how many arguments there are and calls them by their name in the error. highest below 0 is any number.
func arguments(lowest, highest int, name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < lowest:
			return usagef("%s is missing", name)
		case highest == 0 && len(args) > 0:
			return usagef("unexpected argument %q", args[0])
		case highest >= 0 && len(args) > highest:
			return usagef("unexpected argument %q after %s", args[highest], name)
		}
		return nil
	}
}

// noArguments refuses any.
func noArguments(cmd *cobra.Command, args []string) error { return arguments(0, 0, "")(cmd, args) }
