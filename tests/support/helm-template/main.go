// helm-template renders a chart with Helm's own engine, as `helm template` does, and prints it; with -notes what `helm install` says at
// its end. Values are checked against the chart's schema; later files win.
//
//	helm-template [-notes] [-kube-version 1.28.0] CHART RELEASE NAMESPACE [VALUES.yaml...]
package main

import (
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
)

func main() {
	notes := flag.Bool("notes", false, "print the notes only")
	version := flag.String("kube-version", "", "of the cluster, such as 1.28.0")
	flag.Parse()
	if flag.NArg() < 3 {
		fmt.Fprintln(os.Stderr, "usage: helm-template [-notes] [-kube-version VERSION] CHART RELEASE NAMESPACE [VALUES.yaml...]")
		os.Exit(2)
	}
	files, err := render(flag.Args(), *version)
	if err != nil {
		fmt.Fprintln(os.Stderr, "helm-template:", err)
		os.Exit(1)
	}
	if *notes {
		fmt.Print(files["workflow/templates/NOTES.txt"])
		return
	}
	fmt.Print(manifest(files))
}

func render(arguments []string, version string) (map[string]string, error) {
	chart, err := loader.Load(arguments[0])
	if err != nil {
		return nil, err
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	if version != "" {
		parsed, err := chartutil.ParseKubeVersion(version)
		if err != nil {
			return nil, err
		}
		capabilities.KubeVersion = *parsed
		if wanted := chart.Metadata.KubeVersion; wanted != "" && !chartutil.IsCompatibleRange(wanted, parsed.Version) {
			return nil, fmt.Errorf("the chart needs Kubernetes %s, not %s", wanted, parsed.Version)
		}
	}
	values := chartutil.Values{}
	for _, file := range arguments[3:] {
		more, err := chartutil.ReadValuesFile(file)
		if err != nil {
			return nil, err
		}
		values = chartutil.CoalesceTables(more, values)
	}
	options := chartutil.ReleaseOptions{Name: arguments[1], Namespace: arguments[2], Revision: 1, IsInstall: true}
	top, err := chartutil.ToRenderValues(chart, values, options, capabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(chart, top)
}

func manifest(files map[string]string) string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	var out strings.Builder
	for _, name := range names {
		body := strings.TrimSpace(files[name])
		if strings.HasSuffix(name, ".yaml") && body != "" {
			fmt.Fprintf(&out, "---\n# Source: %s\n%s\n", name, strings.TrimPrefix(body, "---\n"))
		}
	}
	return out.String()
}
