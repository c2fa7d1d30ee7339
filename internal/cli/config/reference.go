package config

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
)

// reference is `kefu config reference`.
type reference struct {
	streams *cli.Streams
	example bool
}

func newReference(env *cli.Env) *cobra.Command {
	r := &reference{streams: env.Streams}
	cmd := &cobra.Command{
		Use:   "reference [KEY]",
		Short: "List every configuration key with its default, what is allowed and what it means",
		Long: `Lists every configuration key with its default, what is allowed and what it means;
with KEY, those whose name holds it. Every key of defaults may also be set per app. The variable of
a key is KEFU_ and its path in capitals: KEFU_NATS_URL.`,
		Example: `  kefu config reference
  kefu config reference rate
  kefu config reference -o json
  kefu config reference --example > kefu.yaml`,
		Args: cli.Args(0, 1, "KEY"),
		RunE: func(_ *cobra.Command, args []string) error { return r.run(args) },
		ValidArgsFunction: cli.CompleteArgs(func() []string {
			var names []string
			for _, k := range config.Keys() {
				names = append(names, k.Path+"\t"+k.Doc)
			}
			return names
		}),
	}
	cmd.Flags().BoolVar(&r.example, "example", false,
		"write a complete, commented configuration file instead")
	return cmd
}

func (r *reference) run(args []string) error {
	if r.example {
		if len(args) > 0 {
			return cli.Usagef("--example is the whole file: it goes without a key")
		}
		return config.WriteExample(r.streams.Out)
	}
	var keys []config.Key
	for _, k := range config.Keys() {
		switch {
		case len(args) > 0 && !strings.Contains(k.Path, args[0]):
		case len(args) == 0 && !r.streams.AsJSON() && k.OfEachApp():
			// For people the long text says once that apps have the keys of defaults.
		default:
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		if err := cli.List(r.streams, keys, nil); err != nil {
			return err
		}
		return cli.Nothingf("no key's name holds %q", args[0])
	}
	return cli.List(r.streams, keys, []cli.Column[config.Key]{
		{Title: "KEY", Cell: func(k config.Key) string { return k.Path }},
		{Title: "DEFAULT", Cell: func(k config.Key) string { return k.Default }, Wraps: true},
		{Title: "ALLOWED", Cell: func(k config.Key) string {
			return strings.TrimSpace(k.Allowed +
				" " + k.Unit)
		}, Wraps: true},
		{Title: "MEANING", Cell: func(k config.Key) string { return k.Doc }, Wraps: true},
	})
}
