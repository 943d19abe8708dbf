// What programs do with client-go, against the cluster of $KUBECONFIG. Prints a line per step; the last one is "done".
//
//	life informer NAMESPACE    follows ConfigMaps while they are made, changed and deleted
//	life deployment NAMESPACE  creates, scales, changes and deletes a Deployment, each seen through an informer
//	life leader NAMESPACE      two candidates; the second leads when the first stops
package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/util/retry"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "life:", err)
		os.Exit(1)
	}
}

// Everything that an informer tells, as a channel of lines.
func follow(ctx context.Context, informer cache.SharedIndexInformer) <-chan string {
	lines := make(chan string, 1000)
	tell := func(what string, object any) {
		if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		switch o := object.(type) {
		case *core.ConfigMap:
			lines <- fmt.Sprintf("%s %s %s", what, o.Name, o.Data["n"])
		case *apps.Deployment:
			if what == "deleted" {
				lines <- "deleted " + o.Name
				return
			}
			ready := o.Status.ObservedGeneration >= o.Generation && o.Status.AvailableReplicas == *o.Spec.Replicas &&
				o.Status.UpdatedReplicas == *o.Spec.Replicas && o.Status.Replicas == *o.Spec.Replicas
			lines <- fmt.Sprintf("%s %s replicas=%d image=%s settled=%v", what, o.Name, *o.Spec.Replicas,
				o.Spec.Template.Spec.Containers[0].Image, ready)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { tell("added", o) },
		UpdateFunc: func(_, o any) { tell("updated", o) },
		DeleteFunc: func(o any) { tell("deleted", o) },
	})
	check(err)
	go informer.Run(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		check(fmt.Errorf("the informer did not synchronise"))
	}
	return lines
}

func expect(ctx context.Context, lines <-chan string, wanted string) {
	for {
		select {
		case line := <-lines:
			if line == wanted {
				fmt.Println(line)
				return
			}
		case <-ctx.Done():
			check(fmt.Errorf("not seen: %s", wanted))
		}
	}
}

func informer(ctx context.Context, client kubernetes.Interface, ns string) {
	maps := client.CoreV1().ConfigMaps(ns)
	for i := 0; i < 700; i++ { // more than a page
		_, err := maps.Create(ctx, &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: fmt.Sprintf("early-%03d", i), Labels: map[string]string{"kind": "early"}}}, meta.CreateOptions{})
		check(err)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(ns))
	shared := factory.Core().V1().ConfigMaps()
	lines := follow(ctx, shared.Informer())
	expect(ctx, lines, "added early-699 ")
	made, err := maps.Create(ctx, &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: "late"}, Data: map[string]string{"n": "1"}}, meta.CreateOptions{})
	check(err)
	expect(ctx, lines, "added late 1")
	check(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		made.Data["n"] = "2"
		changed, err := maps.Update(ctx, made, meta.UpdateOptions{})
		if err == nil {
			made = changed
		}
		return err
	}))
	expect(ctx, lines, "updated late 2")
	_, err = maps.Patch(ctx, "late", types.MergePatchType, []byte(`{"data":{"n":"3"}}`), meta.PatchOptions{})
	check(err)
	expect(ctx, lines, "updated late 3")
	if _, err = maps.Update(ctx, made, meta.UpdateOptions{}); err == nil {
		check(fmt.Errorf("an update of an old version was accepted"))
	}
	check(maps.Delete(ctx, "late", meta.DeleteOptions{}))
	expect(ctx, lines, "deleted late 3")
	check(maps.DeleteCollection(ctx, meta.DeleteOptions{}, meta.ListOptions{LabelSelector: "kind=early"}))
	expect(ctx, lines, "deleted early-699 ")
}

func deployment(ctx context.Context, client kubernetes.Interface, ns string) {
	replicas := int32(2)
	labels := map[string]string{"app": "web"}
	wanted := &apps.Deployment{
		ObjectMeta: meta.ObjectMeta{Name: "web"},
		Spec: apps.DeploymentSpec{
			Replicas: &replicas,
			Selector: &meta.LabelSelector{MatchLabels: labels},
			Template: core.PodTemplateSpec{
				ObjectMeta: meta.ObjectMeta{Labels: labels},
				Spec:       core.PodSpec{Containers: []core.Container{{Name: "web", Image: "example.com/web:1"}}},
			},
		},
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(ns))
	lines := follow(ctx, factory.Apps().V1().Deployments().Informer())
	deployments := client.AppsV1().Deployments(ns)
	_, err := deployments.Create(ctx, wanted, meta.CreateOptions{})
	check(err)
	expect(ctx, lines, "updated web replicas=2 image=example.com/web:1 settled=true")
	scale, err := deployments.GetScale(ctx, "web", meta.GetOptions{})
	check(err)
	scale.Spec.Replicas = 3
	_, err = deployments.UpdateScale(ctx, "web", scale, meta.UpdateOptions{})
	check(err)
	expect(ctx, lines, "updated web replicas=3 image=example.com/web:1 settled=true")
	check(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		current, err := deployments.Get(ctx, "web", meta.GetOptions{})
		check(err)
		current.Spec.Template.Spec.Containers[0].Image = "example.com/web:2"
		_, err = deployments.Update(ctx, current, meta.UpdateOptions{})
		return err
	}))
	expect(ctx, lines, "updated web replicas=3 image=example.com/web:2 settled=true")
	foreground := meta.DeletePropagationForeground
	check(deployments.Delete(ctx, "web", meta.DeleteOptions{PropagationPolicy: &foreground}))
	expect(ctx, lines, "deleted web")
	pods, err := client.CoreV1().Pods(ns).List(ctx, meta.ListOptions{LabelSelector: "app=web"})
	check(err)
	fmt.Println("pods left:", len(pods.Items))
}

func leader(ctx context.Context, client kubernetes.Interface, ns string) {
	led := make(chan string, 10)
	stand := func(ctx context.Context, name string) {
		leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta:  meta.ObjectMeta{Namespace: ns, Name: "election"},
				Client:     client.CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: name},
			},
			ReleaseOnCancel: true,
			LeaseDuration:   2 * time.Second,
			RenewDeadline:   1500 * time.Millisecond,
			RetryPeriod:     200 * time.Millisecond,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { led <- name + " leads" },
				OnStoppedLeading: func() { led <- name + " stopped" },
			},
		})
	}
	first, stop := context.WithCancel(ctx)
	var candidates sync.WaitGroup
	candidates.Go(func() { stand(first, "first") })
	expect(ctx, led, "first leads")
	second, end := context.WithCancel(ctx)
	candidates.Go(func() { stand(second, "second") })
	stop()
	expect(ctx, led, "second leads")
	end()
	candidates.Wait()
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	check(err)
	config.QPS, config.Burst = 1000, 1000
	client, err := kubernetes.NewForConfig(config)
	check(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	parts := map[string]func(context.Context, kubernetes.Interface, string){
		"informer": informer, "deployment": deployment, "leader": leader}
	parts[os.Args[1]](ctx, client, os.Args[2])
	fmt.Println("done")
}
