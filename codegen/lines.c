/*
 * lines.c: source lines of kernels (-g), as debug locations of their code.
 *
 * A kernel is a function at the place of its group; what it does is at the
 * place of the instruction it comes from, which may be in another file.
 */
#include "lines.h"

#include <llvm-c/DebugInfo.h>

struct Lines {
    Module *m;
    LLVMContextRef cx;
    LLVMDIBuilderRef di;
    LLVMMetadataRef unit, kernel; /* the present function */
    const char *path;             /* of the present function */
};

static LLVMMetadataRef file_of(const Lines *l, const char *path)
{
    return LLVMDIBuilderCreateFile(l->di, path, strlen(path), ".", 1);
}

static void add_flag(const Lines *l, LLVMModuleRef module, const char *key,
                     unsigned value)
{
    LLVMTypeRef t = LLVMInt32TypeInContext(l->cx);
    LLVMAddModuleFlag(module, LLVMModuleFlagBehaviorWarning, key, strlen(key),
                      LLVMValueAsMetadata(LLVMConstInt(t, value, false)));
}

Lines *lines_new(Module *m, LLVMContextRef cx, LLVMModuleRef module)
{
    Lines *l = NEW(m->arena, Lines);
    l->m = m;
    l->cx = cx;
    l->di = LLVMCreateDIBuilder(module);
    add_flag(l, module, "Debug Info Version", LLVMDebugMetadataVersion());
    add_flag(l, module, "Dwarf Version", 4);
    l->unit = LLVMDIBuilderCreateCompileUnit(
        l->di, LLVMDWARFSourceLanguageC, file_of(l, "titan"), "titan", 5, true,
        "", 0, 0, "", 0, LLVMDWARFEmissionLineTablesOnly, 0, false, false, "",
        0, "", 0);
    return l;
}

static Place place_of(const Lines *l, Loc loc)
{
    Place p = {0};
    if (loc.id) p = diag_place(l->m->diag, loc_span(l->m, loc));
    if (!p.path) p = (Place){"titan", 0, 0};
    return p;
}

void lines_begin(Lines *l, Emit *e, const char *name, Loc group)
{
    if (!l) return;
    Place p = place_of(l, group);
    l->path = p.path;
    LLVMMetadataRef file = file_of(l, p.path);
    LLVMMetadataRef type =
        LLVMDIBuilderCreateSubroutineType(l->di, file, NULL, 0, LLVMDIFlagZero);
    l->kernel = LLVMDIBuilderCreateFunction(
        l->di, file, name, strlen(name), name, strlen(name), file, p.line, type,
        true, true, p.line, LLVMDIFlagZero, true);
    LLVMSetSubprogram(e->fn, l->kernel);
    lines_at(l, e, group);
}

void lines_at(Lines *l, const Emit *e, Loc loc)
{
    if (!l) return;
    Place p = place_of(l, loc);
    LLVMMetadataRef scope = l->kernel;
    if (strcmp(p.path, l->path) != 0)
        scope = LLVMDIBuilderCreateLexicalBlockFile(l->di, scope,
                                                    file_of(l, p.path), 0);
    LLVMSetCurrentDebugLocation2(
        e->s.b,
        LLVMDIBuilderCreateDebugLocation(l->cx, p.line, p.column, scope, NULL));
}

void lines_finish(Lines *l)
{
    if (!l) return;
    LLVMDIBuilderFinalize(l->di);
    LLVMDisposeDIBuilder(l->di);
}
