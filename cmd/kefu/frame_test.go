package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// try is one command line in a test: what the process would find around it.
type try struct {
	args    []string
	stdin   string
	environ []string
	file    string // text of the configuration file; empty for none
	width   int    // of the terminal everything is connected to; 0 for pipes
	ctx     context.Context
}

// result is what came of it.
type result struct {
	code     int
	out, err string
}

// kefu runs a command line without a process around it. Nothing of the machine's environment or files gets in.
func kefu(t *testing.T, c try) result {
	t.Helper()
	var out, err bytes.Buffer
	cli := newCLI(c.environ, strings.NewReader(c.stdin), &out, &err)
	cli.search = []string{}
	if c.file != "" {
		path := filepath.Join(t.TempDir(), "kefu.yaml")
		require.NoError(t, os.WriteFile(path, []byte(c.file), 0o600))
		cli.search = []string{path}
	}
	if c.width > 0 {
		cli.tty = terminal{in: true, out: true, err: true, width: c.width}
	}
	ctx := c.ctx
	if ctx == nil {
		ctx = t.Context()
	}
	code := cli.execute(ctx, c.args)
	require.Empty(t, cleanErrors(cli.search, &out, &err))
	return result{code, out.String(), err.String()}
}

// cleanErrors cuts the test's folder from what was printed, so that tests can name the file as kefu.yaml.
func cleanErrors(search []string, streams ...*bytes.Buffer) string {
	for _, path := range search {
		folder := filepath.Dir(path) + string(filepath.Separator)
		for _, s := range streams {
			text := strings.ReplaceAll(s.String(), folder, "")
			s.Reset()
			s.WriteString(text)
		}
	}
	return ""
}

// args splits a command line at its blanks.
func args(line string) []string { return strings.Fields(line) }

const twoApps = `apps:
  - {appid: wx1, name: 旗舰店, secret_env: S, limits: {text_bytes: 3}}
  - {appid: wx2, secret_env: S}
`

func TestRunIsTheProgram(t *testing.T) {
	t.Parallel()
	var out, err bytes.Buffer
	require.Equal(t, exitDone, run(t.Context(), args("version -o ndjson"), strings.NewReader(""), &out, &err))
	require.True(t, json.Valid(out.Bytes()))
	require.Empty(t, err.String())
}

func TestAloneItPrintsItsHelp(t *testing.T) {
	t.Parallel()
	alone, help := kefu(t, try{}), kefu(t, try{args: args("--help")})
	require.Equal(t, help, alone)
	require.Equal(t, exitDone, alone.code)
	require.Empty(t, alone.err)
	for _, expected := range []string{
		"Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 nothing matched, 4 partly done.",
		"--config file", "--app appid", "-o, --output format", "--yes", "--quiet", "--no-color", "--set key=value",
		"Tools:\n", "  errcode ",
	} {
		require.Contains(t, alone.out, expected)
	}

	group := kefu(t, try{args: args("config")})
	require.Equal(t, exitDone, group.code)
	require.Contains(t, group.out, "Available Commands:")
}

func TestEveryCommandIsDescribed(t *testing.T) {
	t.Parallel()
	eachCommand(newRootCmd(newCLI(nil, nil, nil, nil)), func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		require.NotEmpty(t, cmd.Short, path)
		require.False(t, strings.HasSuffix(cmd.Short, "."), "%s: a headline has no full stop", path)
		require.True(t, cmd.Hidden || cmd.Example != "", "%s: an example", path)
		require.NotNil(t, cmd.RunE, path)
		if cmd.Parent() != nil && cmd.Parent().Parent() == nil {
			require.NotEmpty(t, cmd.GroupID, path)
		}
		for line := range strings.Lines(cmd.Long) {
			require.LessOrEqual(t, len([]rune(line)), 131, "%s: %s", path, line)
		}
	})
}

func TestEveryFlagIsDescribed(t *testing.T) {
	t.Parallel()
	eachCommand(newRootCmd(newCLI(nil, nil, nil, nil)), func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			require.NotEmpty(t, f.Usage, "%s --%s", cmd.CommandPath(), f.Name)
			for _, word := range []string{"secret", "password"} {
				require.NotEqual(t, word, f.Name, "a secret on a command line is in everybody's process list")
			}
		})
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
	for _, line := range []string{"bench --latency 0s --nats nats://127.0.0.1:1 --apps 0", "campaign start --expires-in 0 none.csv"} {
		require.NotContains(t, kefu(t, try{args: args(line)}).err, "is empty", line)
	}
}

func TestBadUsageIsExitCodeTwoAndSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ line, says, hint string }{
		{"errcod", `unknown command "errcod" for "kefu"`, "kefu"},
		{"config prnt", `unknown command "prnt" for "kefu config", did you mean print?`, "kefu config"},
		{"config frobnicate", `unknown command "frobnicate" for "kefu config"`, "kefu config"},
		{"completion frobnicate", `unknown command "frobnicate" for "kefu completion"`, "kefu completion"},
		{"help frobnicate", `unknown command "frobnicate" for help`, "kefu help"},
		{"dead replay --openid=", "--openid is empty: is a variable not set?", "kefu dead replay"},
		{"dead list --id a --id=", "--id has an empty value: is a variable not set?", "kefu dead list"},
		{"dead list --limit -5", "--limit cannot be below 0, which is for all", "kefu dead list"},
		{"version --frobnicate", "unknown flag: --frobnicate", "kefu version"},
		{"version extra", `unexpected argument "extra"`, "kefu version"},
		{"version -o yaml", `invalid argument "yaml" for "-o, --output" flag: not one of table, json, ndjson`, "kefu version"},
		{"validate", "FILE is missing", "kefu validate"},
		{"errcode 1 2", `unexpected argument "2" after CODE`, "kefu errcode"},
		{"errcode x", `"x" is not a code such as 45015 or -1`, "kefu errcode"},
		{"errcode --fault mine", `--fault "mine" is not one of message, recipient, busy,`, "kefu errcode"},
		{"errcode --lang fr", `--lang "fr" is not one of en, zh, both`, "kefu errcode"},
		{"sandbox --latency slow", `--latency "slow" is not a duration such as 50ms or a range such as 20ms..80ms`, "kefu sandbox"},
		{"sandbox --latency 2s..1s", `--latency "2s..1s" is not a duration`, "kefu sandbox"},
		{"sandbox --token-ttl 1ms", "--token-ttl 1ms is shorter than a second", "kefu sandbox"},
		{"sandbox --log-level loud", `invalid argument "loud" for "--log-level" flag`, "kefu sandbox"},
		{"sandbox --rules /nowhere.json", "--rules: open /nowhere.json: no such file or directory", "kefu sandbox"},
		{"config reference rate --example", "--example is the whole file: it goes without a key", "kefu config reference"},
		{"config print --app wx9", "no app wx9 is configured: there is wx1 (旗舰店), wx2", "kefu config print"},
		{"config print --set worker.grace", "--set worker.grace is not KEY=VALUE", "kefu config print"},
	} {
		t.Run(c.line, func(t *testing.T) {
			t.Parallel()
			got := kefu(t, try{args: args(c.line), file: twoApps, environ: []string{"S=x"}})
			require.Equal(t, exitUsage, got.code)
			require.Empty(t, got.out)
			require.Contains(t, got.err, "kefu: "+c.says)
			require.True(t, strings.HasSuffix(got.err, "Run '"+c.hint+" --help' for usage.\n"), got.err)
		})
	}
}

func TestABadConfigurationIsExitCodeTwo(t *testing.T) {
	t.Parallel()
	got := kefu(t, try{args: args("config print"), file: "worker:\n  concurency: 1\n  receipts: some\n"})
	require.Equal(t, result{exitUsage, "",
		"kefu: kefu.yaml:2: unknown key worker.concurency, did you mean worker.concurrency?\n" +
			"kefu: kefu.yaml:3: worker.receipts: \"some\" is not one of all, failures, off\n" +
			"Run 'kefu config reference' for the keys there are.\n",
	}, got)
}

func TestANamedFileMustExist(t *testing.T) {
	t.Parallel()
	got := kefu(t, try{args: args("config print --config /nowhere/kefu.yaml")})
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.err, "kefu: /nowhere/kefu.yaml: no such file\n")
}

func TestInterruptedIsNotAMistakeOfTheUser(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(t.TempDir(), "p.json")
	require.NoError(t, os.WriteFile(path, []byte("{}"), 0o600))
	require.Equal(t, result{exitFailed, "", "kefu: interrupted\n"}, kefu(t, try{args: []string{"validate", path}, ctx: ctx}))
}

func TestHowACommandEndedIsItsExitCode(t *testing.T) {
	t.Parallel()
	for code, err := range map[int]error{
		exitDone:    nil,
		exitFailed:  os.ErrPermission,
		exitUsage:   usagef("that is no way to ask"),
		exitNothing: nothingf("nothing there"),
		exitPartly:  partlyf("3 of 5 done: %w", os.ErrPermission),
	} {
		c := newCLI(nil, nil, &bytes.Buffer{}, &bytes.Buffer{})
		c.started = true
		require.Equal(t, code, c.exit(&cobra.Command{Use: "kefu"}, err))
	}
	require.ErrorIs(t, partlyf("3 of 5 done: %w", os.ErrPermission), os.ErrPermission)
}

func TestWarningsGoToTheErrorStreamUnlessQuiet(t *testing.T) {
	t.Parallel()
	c := try{args: args("config print -o json"), environ: []string{"KEFU_HOME=x"}}
	got := kefu(t, c)
	require.Equal(t, "warning: KEFU_HOME: is not a setting of kefu and has no effect\n", got.err)
	require.True(t, json.Valid([]byte(got.out)))
	c.args = append(c.args, "--quiet")
	require.Empty(t, kefu(t, c).err)
}

func TestWhichAppACommandIsAbout(t *testing.T) {
	t.Parallel()
	oneApp := "apps: [{appid: wx1, secret_env: S}]"
	for _, c := range []struct {
		name, file, argument, flag string
		appid, says                string
	}{
		{"the only one", oneApp, "", "", "wx1", ""},
		{"the one in the flag", twoApps, "", "wx2", "wx2", ""},
		{"the one in the argument", twoApps, "wx1", "", "wx1", ""},
		{"the same in both", twoApps, "wx1", "wx1", "wx1", ""},
		{"two different ones", twoApps, "wx1", "wx2", "", "two apps are named, wx1 and --app wx2: which one?"},
		{"none of several", twoApps, "", "", "", "there are several apps: name one of wx1 (旗舰店), wx2 with --app"},
		{"one that is not there", oneApp, "", "wx9", "", "no app wx9 is configured: there is wx1"},
		{"none at all", "worker: {}", "", "", "", "no app is configured"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "kefu.yaml")
			require.NoError(t, os.WriteFile(path, []byte(c.file), 0o600))
			cli := newCLI([]string{"S=x"}, nil, &bytes.Buffer{}, &bytes.Buffer{})
			cli.configFile, cli.appID = path, c.flag
			app, err := cli.app(c.argument)
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				require.Equal(t, exitUsage, cli.exit(&cobra.Command{Use: "kefu"}, err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.appid, app.AppID)
		})
	}
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
		got := kefu(t, try{args: append([]string{"__complete"}, c.args...), file: twoApps})
		require.Equal(t, exitDone, got.code)
		require.Contains(t, got.out, c.expects)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		got := kefu(t, try{args: []string{"completion", shell}})
		require.Equal(t, exitDone, got.code)
		require.Contains(t, got.out, "kefu")
	}
	broken := kefu(t, try{args: []string{"__complete", "config", "print", "--app", ""}, file: "nope: 1"})
	require.Equal(t, exitDone, broken.code)
}

func TestNegativeCodesAreNoFlags(t *testing.T) {
	t.Parallel()
	for line, expected := range map[string]string{
		"errcode -1":              "errcode -- -1",
		"errcode -1 -o json":      "errcode -o json -- -1",
		"--quiet errcode -40001":  "errcode --quiet -- -40001",
		"-o json errcode -1":      "errcode -o json -- -1",
		"errcode --yes -1":        "errcode --yes -- -1",
		"errcode 45015":           "errcode 45015",
		"errcode -- -1":           "errcode -- -1",
		"errcode -o json":         "errcode -o json",
		"errcode --search=-1 -x1": "errcode --search=-1 -x1",
		"errcode --search=x -1":   "errcode --search=x -- -1",
		// The value of a flag is no code.
		"errcode --search -1":        "errcode --search -1",
		"--app errcode errcode -1":   "errcode --app errcode -- -1",
		"errcode --search errcode 5": "errcode --search errcode 5",
		// Nor is a word that other commands are given.
		"sandbox --listen -1":                      "sandbox --listen -1",
		"send --id errcode --expires-in -1":        "send --id errcode --expires-in -1",
		"dead list --text errcode --generation -1": "dead list --text errcode --generation -1",
		"dead replay errcode --rate -1":            "dead replay errcode --rate -1",
		"app pause --reason errcode -5":            "app pause --reason errcode -5",
		"help errcode":                             "help errcode",
		"-1":                                       "-1",
		"":                                         "",
	} {
		root := newRootCmd(newCLI(nil, nil, nil, nil))
		require.Equal(t, args(expected), negativeCodesLast(root, args(line)), line)
	}
	replay := kefu(t, try{args: args("dead replay errcode --rate -1"), file: twoApps})
	require.Contains(t, replay.err, "--rate and --limit cannot be below 0")
	require.Equal(t, exitDone, kefu(t, try{args: args("errcode --search -1")}).code)
}

func TestVersion(t *testing.T) {
	t.Parallel()
	got := kefu(t, try{args: args("version")})
	require.Equal(t, exitDone, got.code)
	require.Regexp(t, `^kefu \S+ .*go1\.\d+\S* \w+/\w+\n$`, got.out)

	var info map[string]any
	require.NoError(t, json.Unmarshal([]byte(kefu(t, try{args: args("version -o json")}).out), &info))
	require.Contains(t, info, "version")
	require.Contains(t, info, "go")

	require.Equal(t, "kefu 1.2.3 (3f2a91c0d1e2 with changes, 2026-11-24T09:00:00Z) go1.26 linux/arm64", buildInfo{
		Version: "1.2.3", Commit: "3f2a91c0d1e2aaaaaaaa", Date: "2026-11-24T09:00:00Z", Modified: true, Go: "go1.26", OS: "linux", Arch: "arm64",
	}.String())
}
