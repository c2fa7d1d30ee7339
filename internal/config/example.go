package config

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// WriteExample writes a complete configuration file with every key at its default, what it means
// and what is allowed.
func WriteExample(w io.Writer) error {
	if _, err := io.WriteString(w, exampleHead); err != nil {
		return err
	}
	root := mapping()
	exampleRows(root, configKeys)
	defaults := group(root, "defaults")
	exampleRows(defaults, settingsKeys)
	app := mapping()
	for _, r := range appKeys {
		if value, ok := exampleApp[r.path]; ok {
			name := scalar(r.path, "!!str")
			name.HeadComment = fold(r.doc)
			example := scalar(value, "!!str")
			if r.initial != "" {
				example.LineComment = r.rule.allowed
			}
			app.Content = append(app.Content, name, example)
		}
	}
	root.Content = append(root.Content, scalar("apps", "!!str"),
		&yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: []*yaml.Node{app}})
	for i := 0; i < len(root.Content); i += 2 {
		root.Content[i].HeadComment = exampleGroups[root.Content[i].Value]
	}
	var body bytes.Buffer
	if err := encode(&body, root); err != nil {
		return err
	}
	// The encoder writes no empty lines; the example has one before each group.
	_, err := w.Write(bytes.ReplaceAll(body.Bytes(), []byte("\n# "), []byte("\n\n# ")))
	return err
}

const exampleHead = "# kefu's configuration: every key at its default. Leave out what you do not " +
	"change.\n" +
	"# Printed by kefu config reference --example.\n" +
	"# The environment wins over this file (KEFU_NATS_URL for nats.url), flags win over both.\n\n"

var exampleGroups = map[string]string{
	"nats":     "The broker.",
	"wechat":   "The API.",
	"worker":   "The daemon: kefu worker.",
	"console":  "The operators' web page: kefu console.",
	"defaults": "For every app; each key may be set per app.",
	"apps": "One entry for each Official Account or mini program; it may also have any key of " +
		"defaults.",
}

//nolint:gosec // G101: the path of a secret is none
var exampleApp = map[string]string{
	"appid": "wx0000000000000001", "name": "旗舰店", "kind": "official",
	"secret_file": "/etc/kefu/wx1.secret",
}

func exampleRows[T any](root *yaml.Node, rows []row[T]) {
	var zero T
	for _, r := range rows {
		parent, name := split(r.path)
		node := group(root, parent)
		key := scalar(name, "!!str")
		key.HeadComment = fold(r.doc)
		field := r.field(&zero)
		// a default its own rule refuses fails the test that loads the example
		r.rule.set(field, r.initial)
		value := scalarOf(field, r.rule)
		value.LineComment = r.rule.allowed
		if r.unit != "" {
			value.LineComment = fmt.Sprintf("%s %s", r.rule.allowed, r.unit)
		}
		node.Content = append(node.Content, key, value)
	}
}

// fold breaks a sentence into lines that stay below 100 columns when they are indented.
func fold(sentence string) string {
	const width = 90
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(sentence) {
		if i > 0 {
			if column+1+len(word) > width {
				b.WriteByte('\n')
				column = 0
			} else {
				b.WriteByte(' ')
				column++
			}
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
