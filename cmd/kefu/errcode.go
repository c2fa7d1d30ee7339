package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kefuhq/kefu/internal/wechat"
)

// errcode is `kefu errcode`.
type errcode struct {
	cli    *cli
	fault  string
	call   string
	search string
	lang   string
}

func newErrcodeCmd(c *cli) *cobra.Command {
	e := &errcode{cli: c}
	cmd := &cobra.Command{
		Use:     "errcode [CODE]",
		Short:   "Explain WeChat's return codes: what one means, what kefu does, what you can do",
		GroupID: groupTool,
		Long: `Explains a return code of WeChat: what it means, what the worker does about it and what you can do.
Without CODE it lists all codes that kefu knows. The same code can mean different things on different calls: 40001 on a
send is a stale token, on a token call a wrong secret. With --call it says what a command that makes that call says of the
code. Exit code 3 when no code matches.`,
		Example: `  kefu errcode 45015
  kefu errcode -1 --lang zh
  kefu errcode 40001 --call token
  kefu errcode --fault recipient
  kefu errcode --search quota -o json`,
		Args: arguments(0, 1, "CODE"),
		RunE: func(_ *cobra.Command, args []string) error { return e.run(args) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var codes []string
			for _, row := range wechat.Codes() {
				codes = append(codes, strconv.Itoa(row.Code)+"\t"+row.En)
			}
			return codes, cobra.ShellCompDirectiveNoFileComp
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&e.fault, "fault", "", "only codes of this `fault`: "+strings.Join(faultNames(), ", "))
	flags.StringVar(&e.call, "call", "", "only what a code means on this `call`: "+strings.Join(callNames(), ", "))
	flags.StringVar(&e.search, "search", "", "only codes whose number, name or meaning holds this `text`")
	flags.StringVar(&e.lang, "lang", "", "`language` of the explanation: en, zh or both; from LANG when left out")
	c.complete(cmd, "fault", faultNames)
	c.complete(cmd, "call", callNames)
	c.complete(cmd, "lang", languages)
	return cmd
}

// negativeCodesLast lets people write `kefu errcode -1`, which would be a flag called 1: the negative numbers among the arguments
// of errcode go behind a "--". Other commands, and values of flags, are left as they are.
func negativeCodesLast(root *cobra.Command, args []string) []string {
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

// takesNext says whether an argument is a flag whose value is the next one.
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

const (
	langEn   = "en"
	langZh   = "zh"
	langBoth = "both"
)

func languages() []string { return []string{langEn, langZh, langBoth} }

func faultNames() []string {
	var names []string
	for _, f := range wechat.Faults() {
		names = append(names, f.String())
	}
	return names
}

// callNames are the call families that have codes; "any" is for those that mean the same on every call.
func callNames() []string {
	var names []string
	for _, row := range wechat.Codes() {
		if name := callName(row.Call); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// anyCall is the name of the family of codes that mean the same on every call.
const anyCall = "any"

func callName(call wechat.Call) string {
	if call == wechat.CallAny {
		return anyCall
	}
	return string(call)
}

// explained is a row of the table as it is printed: with what the worker does about it.
type explained struct {
	wechat.Code
	DoesEn string `json:"does_en"`
	DoesZh string `json:"does_zh"`
}

func explain(row wechat.Code) explained {
	en, zh := row.Does()
	return explained{row, en, zh}
}

func (e *errcode) run(args []string) error {
	if err := e.check(); err != nil {
		return err
	}
	if len(args) == 0 {
		rows := e.matching()
		if err := e.table(rows); err != nil {
			return err
		}
		if len(rows) == 0 {
			return nothingf("no code matches")
		}
		return nil
	}
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return usagef("%q is not a code such as 45015 or -1", args[0])
	}
	rows, known := e.meanings(code)
	if err := e.details(rows); err != nil {
		return err
	}
	switch {
	case !known:
		return nothingf("kefu does not know the code %d", code)
	case len(rows) == 0:
		return nothingf("kefu does not know the code %d among the codes you asked for", code)
	}
	return nil
}

// meanings are what a code means: on the call asked for, whatever row that takes, else on each.
// known is false for a code that no row has; what becomes of it is shown all the same, unless the
// filters leave it out.
func (e *errcode) meanings(code int) (rows []explained, known bool) {
	called := e.call != "" && e.call != anyCall
	for _, row := range wechat.Codes() {
		if row.Code != code {
			continue
		}
		known = true
		if !called && (e.call == "" || row.Call == wechat.CallAny) && e.passes(row) {
			rows = append(rows, explain(row))
		}
	}
	if called || !known {
		if row := wechat.Explain(wechat.Call(strings.TrimPrefix(e.call, anyCall)), code); e.passes(row) {
			rows = append(rows, explain(row))
		}
	}
	return rows, known
}

func (e *errcode) check() error {
	for _, flag := range []struct {
		name, value string
		allowed     []string
	}{
		{"fault", e.fault, faultNames()}, {"call", e.call, callNames()}, {"lang", e.lang, languages()},
	} {
		if flag.value != "" && !slices.Contains(flag.allowed, flag.value) {
			return usagef("--%s %q is not one of %s", flag.name, flag.value, strings.Join(flag.allowed, ", "))
		}
	}
	if e.lang == "" {
		e.lang = e.cli.language()
	}
	return nil
}

// language is the one the user's locale asks for; both where it asks for none.
func (c *cli) language() string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		locale := strings.ToLower(c.getenv(name))
		base, _, _ := strings.Cut(locale, ".")
		switch {
		case locale == "":
			continue
		case base == "c" || base == "posix":
			return langBoth
		case strings.HasPrefix(base, "zh"):
			return langZh
		default:
			return langEn
		}
	}
	return langBoth
}

// matching are the rows that pass the filters. With --call they are the codes that have a row for
// that call or for any, as they count there.
func (e *errcode) matching() []explained {
	var rows []explained
	own := make(map[int]bool)
	for _, row := range wechat.Codes() {
		own[row.Code] = own[row.Code] || callName(row.Call) == e.call
	}
	for _, row := range wechat.Codes() {
		switch {
		case e.call == "" || callName(row.Call) == e.call:
		case row.Call == wechat.CallAny && !own[row.Code]:
			row = wechat.Explain(wechat.Call(e.call), row.Code)
		default:
			continue
		}
		if e.passes(row) {
			rows = append(rows, explain(row))
		}
	}
	return rows
}

// passes says whether a row passes --fault and --search.
func (e *errcode) passes(row wechat.Code) bool {
	return (e.fault == "" || row.Fault.String() == e.fault) && (e.search == "" || holds(row, strings.ToLower(e.search)))
}

func holds(row wechat.Code, lower string) bool {
	for _, s := range []string{strconv.Itoa(row.Code), row.Name, row.En, row.Zh} {
		if strings.Contains(strings.ToLower(s), lower) {
			return true
		}
	}
	return false
}

// table prints one line per code.
func (e *errcode) table(rows []explained) error {
	columns := []column[explained]{
		{title: "CODE", right: true, cell: func(r explained) string { return strconv.Itoa(r.Code.Code) }},
		{title: "CALL", cell: func(r explained) string { return callName(r.Call) }},
		{title: "FAULT", cell: func(r explained) string { return r.Fault.String() }, style: faultStyle},
	}
	if e.lang != langZh {
		columns = append(columns, column[explained]{title: "MEANING", cell: func(r explained) string { return r.En }, wraps: true})
	}
	if e.lang != langEn {
		columns = append(columns, column[explained]{title: "含义", cell: func(r explained) string { return r.Zh }, wraps: true})
	}
	return list(e.cli, rows, columns)
}

// faultStyle sets apart what stops the whole app from what concerns one message.
func faultStyle(r explained) style {
	switch r.Fault {
	case wechat.FaultConfig:
		return red
	case wechat.FaultMinuteQuota, wechat.FaultDayQuota, wechat.FaultUpstream:
		return yellow
	default:
		return ""
	}
}

// details prints all there is about each row. As JSON it is a list like any other, so that a script can rely on that.
func (e *errcode) details(rows []explained) error {
	if e.cli.format != formatTable {
		return list(e.cli, rows, nil)
	}
	for i, row := range rows {
		if i > 0 {
			if err := e.cli.printf("\n"); err != nil {
				return err
			}
		}
		if err := record(e.cli, row, e.fields(row)); err != nil {
			return err
		}
	}
	return nil
}

func (e *errcode) fields(row explained) []field {
	on := "on every call"
	if row.Call != wechat.CallAny {
		on = "on " + string(row.Call)
	}
	fields := []field{{name: strconv.Itoa(row.Code.Code), value: row.Name + ", " + on, style: bold}}
	if e.lang != langZh {
		fields = append(fields,
			field{name: "means", value: row.En},
			field{name: "kefu", value: row.DoesEn},
			field{name: "you can", value: row.DoEn})
	}
	if e.lang != langEn {
		fields = append(fields,
			field{name: "含义", value: row.Zh},
			field{name: "kefu 处理", value: row.DoesZh},
			field{name: "建议", value: row.DoZh})
	}
	return append(fields,
		field{name: "fault", value: row.Fault.String(), style: faultStyle(row)},
		field{name: "source", value: row.Source, style: faint})
}
