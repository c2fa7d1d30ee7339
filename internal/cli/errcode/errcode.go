// Package errcode is `kefu errcode`: what WeChat's return codes mean.
package errcode

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/wechat"
)

// errcode is the command.
type errcode struct {
	streams  *cli.Streams
	settings *cli.Settings

	fault  string
	call   string
	search string
	lang   string
}

// New returns the command.
func New(env *cli.Env) *cobra.Command {
	e := &errcode{streams: env.Streams, settings: env.Settings}
	cmd := &cobra.Command{
		Use:     "errcode [CODE]",
		Short:   "Explain WeChat's return codes: what one means, what kefu does, what you can do",
		GroupID: cli.GroupTool,
		Long: `Explains a return code of WeChat: what it means, what the worker does about it and
what you can do. Without CODE it lists all codes that kefu knows. The same code can mean different
things on different calls: 40001 on a send is a stale token, on a token call a wrong secret. With
--call it says what a command that makes that call says of the code. Exit code 3 when no code
matches.`,
		Example: `  kefu errcode 45015
  kefu errcode -1 --lang zh
  kefu errcode 40001 --call token
  kefu errcode --fault recipient
  kefu errcode --search quota -o json`,
		Args: cli.Args(0, 1, "CODE"),
		RunE: func(_ *cobra.Command, args []string) error { return e.run(args) },
		ValidArgsFunction: cli.CompleteArgs(func() []string {
			var codes []string
			for _, row := range wechat.Codes() {
				codes = append(codes, strconv.Itoa(row.Code)+"\t"+row.En)
			}
			return codes
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&e.fault, "fault", "",
		"only codes of this `fault`: "+strings.Join(wechat.FaultNames(), ", "))
	flags.StringVar(&e.call, "call", "",
		"only what a code means on this `call`: "+strings.Join(wechat.CallNames(), ", "))
	flags.StringVar(&e.search, "search", "",
		"only codes whose number, name or meaning holds this `text`")
	flags.StringVar(&e.lang, "lang", "",
		"`language` of the explanation: en, zh or both; from LANG when left out")
	cli.Complete(cmd, "fault", wechat.FaultNames)
	cli.Complete(cmd, "call", wechat.CallNames)
	cli.Complete(cmd, "lang", cli.Languages)
	return cmd
}

// NegativeCodesLast lets people write `kefu errcode -1`, which would be a flag called 1: the
// negative numbers among the arguments of errcode go behind a "--". Other commands, and values of
// flags, are left as they are.
func NegativeCodesLast(root *cobra.Command, args []string) []string {
	cmd, own, err := root.Find(args)
	if err != nil || cmd.CommandPath() != "kefu errcode" || slices.Contains(args, "--") {
		return args
	}
	rest, codes := []string{cmd.Name()}, []string(nil)
	for i := 0; i < len(own); i++ {
		rest = append(rest, own[i])
		if takesNext(cmd, own[i]) && i+1 < len(own) {
			i++
			rest = append(rest, own[i])
		} else if n, err := strconv.Atoi(own[i]); err == nil && n < 0 {
			rest, codes = rest[:len(rest)-1], append(codes, own[i])
		}
	}
	if len(codes) == 0 {
		return args
	}
	return append(append(rest, "--"), codes...)
}

// takesNext tells whether an argument is a flag whose value is the next one.
func takesNext(cmd *cobra.Command, arg string) bool {
	if strings.Contains(arg, "=") {
		return false
	}
	var flag *pflag.Flag
	if name, long := strings.CutPrefix(arg, "--"); long {
		flag = cmd.Flag(name)
	} else if name, short := strings.CutPrefix(arg, "-"); short && len(name) == 1 {
		if flag = cmd.Flags().ShorthandLookup(name); flag == nil {
			flag = cmd.InheritedFlags().ShorthandLookup(name)
		}
	}
	return flag != nil && flag.NoOptDefVal == ""
}

func (e *errcode) run(args []string) error {
	if err := e.check(); err != nil {
		return err
	}
	if len(args) == 0 {
		rows := wechat.Explained(e.lookup().Codes())
		if err := e.table(rows); err != nil {
			return err
		}
		if len(rows) == 0 {
			return cli.Nothingf("no code matches")
		}
		return nil
	}
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return cli.Usagef("%q is not a code such as 45015 or -1", args[0])
	}
	rows, known := e.lookup().Meanings(code)
	if err := e.details(wechat.Explained(rows)); err != nil {
		return err
	}
	switch {
	case !known:
		return cli.Nothingf("kefu does not know the code %d", code)
	case len(rows) == 0:
		return cli.Nothingf("kefu does not know the code %d among the codes you asked for", code)
	}
	return nil
}

func (e *errcode) lookup() wechat.Lookup {
	return wechat.Lookup{Fault: e.fault, Call: e.call, Text: e.search}
}

func (e *errcode) check() error {
	for _, flag := range []struct {
		name, value string
		allowed     []string
	}{
		{"fault", e.fault, wechat.FaultNames()}, {"call", e.call, wechat.CallNames()},
		{"lang", e.lang, cli.Languages()},
	} {
		if flag.value != "" && !slices.Contains(flag.allowed, flag.value) {
			return cli.Usagef("--%s %q is not one of %s", flag.name, flag.value,
				strings.Join(flag.allowed, ", "))
		}
	}
	if e.lang == "" {
		e.lang = e.settings.Language()
	}
	return nil
}

// table prints one line per code.
func (e *errcode) table(rows []wechat.Meaning) error {
	columns := []cli.Column[wechat.Meaning]{
		{Title: "CODE", Right: true,
			Cell: func(r wechat.Meaning) string { return strconv.Itoa(r.Code.Code) }},
		{Title: "CALL", Cell: func(r wechat.Meaning) string { return wechat.CallName(r.Call) }},
		{Title: "FAULT", Cell: func(r wechat.Meaning) string { return r.Fault.String() },
			Style: faultStyle},
	}
	if e.lang != cli.Chinese {
		columns = append(columns,
			cli.Column[wechat.Meaning]{Title: "MEANING", Cell: func(r wechat.Meaning) string { return r.En },
				Wraps: true})
	}
	if e.lang != cli.English {
		columns = append(columns,
			cli.Column[wechat.Meaning]{Title: "含义", Cell: func(r wechat.Meaning) string { return r.Zh },
				Wraps: true})
	}
	return cli.List(e.streams, rows, columns)
}

// faultStyle sets apart what stops the whole app from what concerns one message.
func faultStyle(r wechat.Meaning) cli.Style {
	switch r.Fault {
	case wechat.FaultConfig:
		return cli.Red
	case wechat.FaultMinuteQuota, wechat.FaultDayQuota, wechat.FaultUpstream:
		return cli.Yellow
	default:
		return ""
	}
}

// details prints all there is about each row. As JSON it is a list like any other, so that a script
// can rely on that.
func (e *errcode) details(rows []wechat.Meaning) error {
	return cli.Each(e.streams, rows, func(row wechat.Meaning) error {
		return cli.Record(e.streams, row, e.fields(row))
	})
}

func (e *errcode) fields(row wechat.Meaning) []cli.Field {
	on := "on every call"
	if row.Call != wechat.CallAny {
		on = "on " + string(row.Call)
	}
	fields := []cli.Field{{Name: strconv.Itoa(row.Code.Code), Value: row.Name + ", " + on,
		Style: cli.Bold}}
	if e.lang != cli.Chinese {
		fields = append(fields,
			cli.Field{Name: "means", Value: row.En},
			cli.Field{Name: "kefu", Value: row.DoesEn},
			cli.Field{Name: "you can", Value: row.DoEn})
	}
	if e.lang != cli.English {
		fields = append(fields,
			cli.Field{Name: "含义", Value: row.Zh},
			cli.Field{Name: "kefu 处理", Value: row.DoesZh},
			cli.Field{Name: "建议", Value: row.DoZh})
	}
	return append(fields,
		cli.Field{Name: "fault", Value: row.Fault.String(), Style: faultStyle(row)},
		cli.Field{Name: "source", Value: row.Source, Style: cli.Faint})
}
