package root_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/root"
)

func TestRunIsTheProgram(t *testing.T) {
	t.Parallel()
	var out, err bytes.Buffer
	p := cli.Process{In: strings.NewReader(""), Out: &out, Err: &err, Environ: os.Environ()}
	require.Equal(t, cli.ExitDone, root.Run(t.Context(), clitest.Args("version -o ndjson"), p))
	require.True(t, json.Valid(out.Bytes()))
	require.Empty(t, err.String())
}

func TestAloneItPrintsItsHelp(t *testing.T) {
	t.Parallel()
	alone, help := clitest.Run(t, clitest.Try{}), clitest.Run(t,
		clitest.Try{Args: clitest.Args("--help")})
	require.Equal(t, help, alone)
	require.Equal(t, cli.ExitDone, alone.Code)
	require.Empty(t, alone.Err)
	for _, expected := range []string{
		"Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 nothing matched, 4 partly done.",
		"--config file", "--app appid", "-o, --output format", "--yes", "--quiet", "--no-color",
		"--set key=value",
		"Tools:\n", "  errcode ",
	} {
		require.Contains(t, alone.Out, expected)
	}

	group := clitest.Run(t, clitest.Try{Args: clitest.Args("config")})
	require.Equal(t, cli.ExitDone, group.Code)
	require.Contains(t, group.Out, "Available Commands:")
}

func TestEveryCommandIsDescribed(t *testing.T) {
	t.Parallel()
	eachCommand(root.New(cli.New(cli.Process{})), func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		require.NotEmpty(t, cmd.Short, path)
		require.False(t, strings.HasSuffix(cmd.Short, "."), "%s: a headline has no full stop", path)
		require.True(t, cmd.Hidden || cmd.Example != "", "%s: an example", path)
		require.NotNil(t, cmd.RunE, path)
		if cmd.Parent() != nil && cmd.Parent().Parent() == nil {
			require.NotEmpty(t, cmd.GroupID, path)
		}
		for line := range strings.Lines(cmd.Long) {
			require.LessOrEqual(t, len([]rune(line)), 101, "%s: %s", path, line)
		}
	})
}

// eachCommand visits our own commands.
func eachCommand(cmd *cobra.Command, visit func(*cobra.Command)) {
	if name := cmd.Name(); name == "help" || name == "completion" {
		return
	}
	visit(cmd)
	for _, child := range cmd.Commands() {
		eachCommand(child, visit)
	}
}

func TestNothingIsNotEmpty(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"bench --latency 0s --nats-url nats://127.0.0.1:1 --apps 0",
		"campaign start --expires-in 0 none.csv",
	} {
		require.NotContains(t, clitest.Run(t, clitest.Try{Args: clitest.Args(line)}).Err,
			"is empty", line)
	}
}

func TestBadUsageIsExitCodeTwoAndSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ line, says, hint string }{
		{"errcod", `unknown command "errcod" for "kefu"`, "kefu"},
		{"config prnt", `unknown command "prnt" for "kefu config", did you mean print?`,
			"kefu config"},
		{"config frobnicate", `unknown command "frobnicate" for "kefu config"`, "kefu config"},
		{"completion frobnicate", `unknown command "frobnicate" for "kefu completion"`,
			"kefu completion"},
		{"help frobnicate", `unknown command "frobnicate" for help`, "kefu help"},
		{"dead replay --openid=", "--openid is empty: is a variable not set?", "kefu dead replay"},
		{"dead list --id a --id=", "--id has an empty value: is a variable not set?",
			"kefu dead list"},
		{"dead list --limit -5", "--limit cannot be below 0, which is for all", "kefu dead list"},
		{"version --frobnicate", "unknown flag: --frobnicate", "kefu version"},
		{"version extra", `unexpected argument "extra"`, "kefu version"},
		{"version -o yaml", `invalid argument "yaml" for "-o, --output" flag: not one of table, json, ndjson`, "kefu version"},
		{"validate", "FILE is missing", "kefu validate"},
		{"errcode 1 2", `unexpected argument "2" after CODE`, "kefu errcode"},
		{"errcode x", `"x" is not a code such as 45015 or -1`, "kefu errcode"},
		{"errcode --fault mine", `--fault "mine" is not one of message, recipient, busy,`,
			"kefu errcode"},
		{"errcode --lang fr", `--lang "fr" is not one of en, zh, both`, "kefu errcode"},
		{"sandbox --latency slow",
			`--latency "slow" is not a duration such as 50ms or a range such as 20ms..80ms`,
			"kefu sandbox"},
		{"sandbox --latency 2s..1s", `--latency "2s..1s" is not a duration`, "kefu sandbox"},
		{"sandbox --token-ttl 1ms", "--token-ttl 1ms is shorter than a second", "kefu sandbox"},
		{"sandbox --log-level loud", `invalid argument "loud" for "--log-level" flag`,
			"kefu sandbox"},
		{"sandbox --rules /nowhere.json", "--rules: open /nowhere.json: no such file or directory",
			"kefu sandbox"},
		{"config reference rate --example", "--example is the whole file: it goes without a key",
			"kefu config reference"},
		{"config print --app wx9", "no app wx9 is configured: there is wx1 (旗舰店), wx2",
			"kefu config print"},
		{"config print --set worker.grace", "--set worker.grace is not KEY=VALUE",
			"kefu config print"},
	} {
		t.Run(c.line, func(t *testing.T) {
			t.Parallel()
			got := clitest.Run(t,
				clitest.Try{Args: clitest.Args(c.line), File: clitest.TwoApps,
					Environ: []string{"S=x"}})
			require.Equal(t, cli.ExitUsage, got.Code)
			require.Empty(t, got.Out)
			require.Contains(t, got.Err, "kefu: "+c.says)
			require.True(t, strings.HasSuffix(got.Err, "Run '"+c.hint+" --help' for usage.\n"),
				got.Err)
		})
	}
}

func TestABadConfigurationIsExitCodeTwo(t *testing.T) {
	t.Parallel()
	got := clitest.Run(t,
		clitest.Try{Args: clitest.Args("config print"),
			File: "worker:\n  concurency: 1\n  receipts: some\n"})
	require.Equal(t, clitest.Ended(cli.ExitUsage, "",
		"kefu: kefu.yaml:2: unknown key worker.concurency, did you mean worker.concurrency?\n"+
			"kefu: kefu.yaml:3: worker.receipts: \"some\" is not one of all, failures, off\n"+
			"Run 'kefu config reference' for the keys there are.\n"), got)
}

func TestANamedFileMustExist(t *testing.T) {
	t.Parallel()
	got := clitest.Run(t,
		clitest.Try{Args: clitest.Args("config print --config /nowhere/kefu.yaml")})
	require.Equal(t, cli.ExitUsage, got.Code)
	require.Contains(t, got.Err, "kefu: /nowhere/kefu.yaml: no such file\n")
}

func TestInterruptedIsNotAMistakeOfTheUser(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(t.TempDir(), "p.json")
	require.NoError(t, os.WriteFile(path, []byte("{}"), 0o600))
	require.Equal(t, clitest.Ended(cli.ExitFailed, "", "kefu: interrupted\n"),
		clitest.Run(t, clitest.Try{Args: []string{"validate", path}, Ctx: ctx}))
}

func TestWarningsGoToTheErrorStreamUnlessQuiet(t *testing.T) {
	t.Parallel()
	c := clitest.Try{Args: clitest.Args("config print -o json"), Environ: []string{"KEFU_HOME=x"}}
	got := clitest.Run(t, c)
	require.Equal(t, "warning: KEFU_HOME: is not a setting of kefu and has no effect\n", got.Err)
	require.True(t, json.Valid([]byte(got.Out)))
	c.Args = append(c.Args, "--quiet")
	require.Empty(t, clitest.Run(t, c).Err)
}

func TestTheShellCompletes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args    []string
		expects string
	}{
		{[]string{""}, "errcode\tExplain WeChat's return codes"},
		{[]string{"version", "-o", ""}, "ndjson\n"},
		{[]string{"config", "print", "--app", ""}, "wx1\t旗舰店\nwx2\twx2\n"},
		{[]string{"config", "print", "--set", "worker.g"}, "worker.grace=\t"},
		{[]string{"config", "reference", ""}, "nats.url\tWhere the broker is"},
		{[]string{"errcode", ""}, "45015\t"},
		{[]string{"errcode", "--fault", ""}, "recipient\n"},
		{[]string{"errcode", "--call", ""}, "token\n"},
	} {
		got := clitest.Run(t,
			clitest.Try{Args: append([]string{"__complete"}, c.args...), File: clitest.TwoApps})
		require.Equal(t, cli.ExitDone, got.Code)
		require.Contains(t, got.Out, c.expects)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		got := clitest.Run(t, clitest.Try{Args: []string{"completion", shell}})
		require.Equal(t, cli.ExitDone, got.Code)
		require.Contains(t, got.Out, "kefu")
	}
	broken := clitest.Run(t,
		clitest.Try{Args: []string{"__complete", "config", "print", "--app", ""}, File: "nope: 1"})
	require.Equal(t, cli.ExitDone, broken.Code)
}

func TestVersion(t *testing.T) {
	t.Parallel()
	got := clitest.Run(t, clitest.Try{Args: clitest.Args("version")})
	require.Equal(t, cli.ExitDone, got.Code)
	require.Regexp(t, `^kefu \S+ .*go1\.\d+\S* \w+/\w+\n$`, got.Out)

	var info map[string]any
	require.NoError(t, json.Unmarshal([]byte(clitest.Run(t,
		clitest.Try{Args: clitest.Args("version -o json")}).Out), &info))
	require.Contains(t, info, "version")
	require.Contains(t, info, "go")
}
