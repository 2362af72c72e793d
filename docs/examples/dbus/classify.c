/* Ranks prompts for a picture: classify PICTURE PROMPT…   (Debian package: libglib2.0-dev)
   cc -o classify classify.c $(pkg-config --cflags --libs gio-2.0 gio-unix-2.0) */
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <gio/gunixfdlist.h>
#include <unistd.h>

static int fail(GError *error)
{
    g_autofree char *name = g_dbus_error_get_remote_error(error);
    g_dbus_error_strip_remote_error(error);
    g_printerr("%s: %s\n", name ? name : "cannot ask", error->message);
    return 1;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    if (argc < 3) {
        g_printerr("usage: classify PICTURE PROMPT...\n");
        return 2;
    }
    g_autoptr(GDBusConnection) bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, &error);
    if (!bus)
        return fail(error);

    int file = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        g_printerr("%s: %s\n", argv[1], g_strerror(errno));
        return 1;
    }
    g_autoptr(GUnixFDList) files = g_unix_fd_list_new();
    int handle = g_unix_fd_list_append(files, file, &error); /* a duplicate */
    close(file);
    if (handle < 0)
        return fail(error);

    GVariantBuilder options;
    g_variant_builder_init(&options, G_VARIANT_TYPE_VARDICT);
    g_variant_builder_add(&options, "{sv}", "top_k", g_variant_new_uint32(3));
    g_autoptr(GVariant) answer = g_dbus_connection_call_with_unix_fd_list_sync(
        bus, "org.hailo.Clip1", "/org/hailo/Clip1", "org.hailo.Clip1", "ClassifyFd",
        g_variant_new("(h^asa{sv})", handle, argv + 2, &options), G_VARIANT_TYPE("(a(sd)a{sv})"),
        G_DBUS_CALL_FLAGS_NONE, 60000 /* ms: longer than the service takes for any answer */,
        files, NULL, NULL, &error);
    if (!answer)
        return fail(error);

    g_autoptr(GVariantIter) classifications = NULL;
    g_autoptr(GVariant) details = NULL;
    g_variant_get(answer, "(a(sd)@a{sv})", &classifications, &details);
    const char *prompt, *model;
    double score;
    while (g_variant_iter_next(classifications, "(&sd)", &prompt, &score))
        g_print("%.4f\t%s\n", score, prompt);
    if (g_variant_lookup(details, "model", "&s", &model))
        g_printerr("%s\n", model);
    return 0;
}
