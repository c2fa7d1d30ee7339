package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"go.yaml.in/yaml/v3"
)

// strictYAML is a koanf parser that knows the tree: it refuses keys that are not in it, keys given
// twice, and values where a group belongs, and it remembers the line of each value. Values stay the
// text that was written, so that `off` is a word, `48h` is no string by accident, and one set of
// rules reads file, environment and flags alike.
type strictYAML struct {
	name     string // of the file, for people
	values   map[string]any
	lines    map[string]int
	problems []Problem
}

// Unmarshal returns the values by flat key (apps.0.rate.burst); what is wrong is gathered in
// problems, all of it.
func (y *strictYAML) Unmarshal(b []byte) (map[string]any, error) {
	y.values, y.lines = map[string]any{}, map[string]int{}
	decoder := yaml.NewDecoder(bytes.NewReader(b))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return map[string]any{}, nil // nothing but comments
	} else if err != nil {
		y.syntax(err)
		return map[string]any{}, nil
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		y.add(0, "", "holds more than one YAML document")
		return map[string]any{}, nil
	}
	y.group(document.Content[0], "")
	return confmap.Provider(y.values, ".").Read()
}

// Marshal completes koanf's parser; nothing is written back through it.
func (y *strictYAML) Marshal(m map[string]any) ([]byte, error) { return yaml.Marshal(m) }

var lineOfSyntax = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax reports what the YAML parser says with its line where it belongs.
func (y *strictYAML) syntax(err error) {
	line, message := 0, err.Error()
	if m := lineOfSyntax.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1]) // no line is line 0
		message = message[len(m[0]):]
	}
	y.add(line, "", "is not YAML: "+message)
}

// group reads a mapping: the whole file, or one of the groups in it.
func (y *strictYAML) group(node *yaml.Node, key string) {
	node = target(node)
	if isNull(node) {
		return
	}
	if node.Kind != yaml.MappingNode {
		names := strings.Join(known().groups[pattern(key)], ", ")
		if key == "" {
			y.add(node.Line, "",
				"is not a group of keys ("+strings.ReplaceAll(names, "apps[]", "apps")+")")
			return
		}
		y.add(node.Line, key, "is a group of keys ("+names+"), not a single value or a list")
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		child := join(key, name.Value)
		if line, twice := first[name.Value]; twice {
			y.add(name.Line, child, fmt.Sprintf("is given twice, first on line %d", line))
			continue
		}
		first[name.Value] = name.Line
		y.member(name, value, child)
	}
}

// member reads one key of a group with what it holds.
func (y *strictYAML) member(name, value *yaml.Node, key string) {
	cat := known()
	switch _, isGroup := cat.groups[pattern(key)]; {
	case key == "apps":
		y.apps(value)
	case name.ShortTag() == "!!merge":
		y.add(name.Line, key, "merge keys are not read: what apps share belongs under defaults")
	case strings.Contains(name.Value, "."):
		y.unknown(name, key, ", write it nested: one name per level")
	case cat.leaves[pattern(key)]:
		y.leaf(value, key)
	case isGroup:
		y.group(value, key)
	case isSecretName(name.Value):
		y.addNamed(name.Line, key, literalSecret(key))
	default:
		y.unknown(name, key, "")
	}
}

func (y *strictYAML) unknown(name *yaml.Node, key, hint string) {
	y.addNamed(name.Line, key, "unknown key "+display(key)+suggestion(key, hint))
}

// suggestion ends the sentence about an unknown key.
func suggestion(key, hint string) string {
	if hint != "" {
		return hint
	}
	if near := nearest(pattern(key)); near != "" {
		if i, _, ok := cutApp(key); ok {
			near = strings.Replace(near, "apps[]", fmt.Sprintf("apps[%d]", i), 1)
		}
		return ", did you mean " + near + "?"
	}
	parent, _ := split(key)
	names := strings.Join(known().groups[pattern(parent)], ", ")
	return " (known are " + strings.ReplaceAll(names, "apps[]", "apps") + ")"
}

// apps reads the list of apps.
func (y *strictYAML) apps(node *yaml.Node) {
	node = target(node)
	if isNull(node) {
		return
	}
	if node.Kind != yaml.SequenceNode {
		y.add(node.Line, "apps", "is a list: start each app with \"- appid: …\"")
		return
	}
	for i, item := range node.Content {
		key := appsPath + strconv.Itoa(i)
		if isNull(target(item)) {
			y.add(item.Line, key, "is empty")
			continue
		}
		// The app exists even if nothing in it can be read; the line is where a missing appid is
		// reported.
		y.lines[key] = item.Line
		y.group(item, key)
	}
}

// leaf reads one value.
func (y *strictYAML) leaf(node *yaml.Node, key string) {
	node = target(node)
	switch {
	case isNull(node): // `key:` without a value keeps the default
	case node.Kind != yaml.ScalarNode:
		y.add(node.Line, key, "takes one value, not a group or a list")
	default:
		y.values[key], y.lines[key] = node.Value, node.Line
	}
}

func (y *strictYAML) add(line int, key, text string) {
	y.problems = append(y.problems,
		Problem{File: y.name, Line: line, Key: display(key), Text: text})
}

func (y *strictYAML) addNamed(line int, key, text string) {
	y.problems = append(y.problems,
		Problem{File: y.name, Line: line, Key: display(key), Text: text, inText: true})
}

// target follows an alias (*name) to what it stands for. The depth of the tree bounds how often
// this happens.
func target(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// isSecretName recognises the key of whoever wants to write the AppSecret down here.
func isSecretName(name string) bool {
	switch strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name)) {
	case "secret", "appsecret", "secretkey", "password":
		return true
	}
	return false
}

func literalSecret(key string) string {
	return display(key) + " is not a key: a secret never stands in the configuration; put it " +
		"into a file only kefu can read and name that in secret_file"
}

var appIndex = regexp.MustCompile(`^apps\.(\d+)`)

// display writes a key as people do: apps[0].rate.burst.
func display(key string) string { return appIndex.ReplaceAllString(key, "apps[$1]") }

// pattern writes a key as the catalog does: apps[].rate.burst.
func pattern(key string) string { return appIndex.ReplaceAllString(key, "apps[]") }

var displayedIndex = regexp.MustCompile(`^apps\[(\d+)\]`)

// internal is the reverse of display.
func internal(path string) string { return displayedIndex.ReplaceAllString(path, "apps.$1") }

// cutApp splits apps.0.rate.burst into 0 and rate.burst.
func cutApp(key string) (index int, rest string, ok bool) {
	tail, ok := strings.CutPrefix(key, appsPath)
	if !ok {
		return 0, "", false
	}
	number, rest, ok := strings.Cut(tail, ".")
	index, err := strconv.Atoi(number)
	return index, rest, ok && err == nil
}
