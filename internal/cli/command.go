package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The groups of commands in the help, for cobra.Command.GroupID.
const (
	GroupRun    = "run"
	GroupIntent = "intent"
	GroupApp    = "app"
	GroupSetup  = "setup"
	GroupTool   = "tool"
)

// Complete lets the shell complete a flag of cmd with what choices returns.
func Complete(cmd *cobra.Command, flag string, choices func() []string) {
	// It fails only for a flag that does not exist or is completed twice, which
	// TestEveryFlagIsDescribed would show.
	_ = cmd.RegisterFlagCompletionFunc(flag, CompleteArgs(choices))
}

// CompleteArgs lets the shell complete arguments with what choices returns: for
// cobra.Command.ValidArgsFunction.
func CompleteArgs(choices func() []string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return choices(), cobra.ShellCompDirectiveNoFileComp
	}
}

// FormerNames has flags understood under the names that they had in earlier versions as well. Only
// their names of today are shown.
func FormerNames(flags *pflag.FlagSet, todays map[string]string) {
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if today, ok := todays[name]; ok {
			name = today
		}
		return pflag.NormalizedName(name)
	})
}

// nothingEmpty refuses a flag or an argument that is there and empty: a script forgot to set its
// variable, and `--openid ""` would replay what died for everybody.
func nothingEmpty(cmd *cobra.Command, args []string) (err error) {
	if slices.Contains(args, "") {
		return Usagef("an argument is empty: is a variable not set?")
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		many, isMany := f.Value.(pflag.SliceValue)
		switch {
		case err != nil:
		case isMany && slices.Contains(many.GetSlice(), ""):
			err = Usagef("--%s has an empty value: is a variable not set?", f.Name)
		case isMany && len(many.GetSlice()) == 0,
			f.Value.Type() == "string" && f.Value.String() == "":
			err = Usagef("--%s is empty: is a variable not set?", f.Name)
		}
	})
	return err
}

// Group makes cmd a command that only holds others: alone it prints its help, and a word it does
// not know is an error, which cobra by itself reports for the root command only.
func Group(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
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
		return Usagef("unknown command %q for %q%s", args[0], cmd.CommandPath(), hint)
	}
	return cmd
}

// strictAboutWords has cobra's own commands treat a word that they do not know as an error, too.
func strictAboutWords(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "completion":
			cmd.Args = nil
			Group(cmd)
		case "help":
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return Usagef("unknown command %q for help", strings.Join(args, " "))
				}
				return nil
			}
		}
	}
}

// Args checks how many arguments there are and calls them by their name in the error. highest below
// 0 is any number.
func Args(lowest, highest int, name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < lowest:
			return Usagef("%s is missing", name)
		case highest == 0 && len(args) > 0:
			return Usagef("unexpected argument %q", args[0])
		case highest >= 0 && len(args) > highest:
			return Usagef("unexpected argument %q after %s", args[highest], name)
		}
		return nil
	}
}

// NoArgs refuses any argument.
func NoArgs(cmd *cobra.Command, args []string) error { return Args(0, 0, "")(cmd, args) }

// First returns the first of some arguments, or "".
func First(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
