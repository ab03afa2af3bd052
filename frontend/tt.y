/*
 * tt.y: the grammar of .tt files.  LALR(1), no conflicts.
 *
 * Statements are separated by newlines; a statement that cannot be understood
 * is skipped as a whole, with the braces in it, so that one mistake makes one
 * message.  Words that stand at a fixed place and nowhere else (of, while,
 * frozen, none) are names here and looked at by the actions.
 */
%define api.pure full
%define api.prefix {tt_}
%define api.token.prefix {TT_}
%define api.location.type {Span}
%define parse.error custom
%define parse.lac full
%locations
%expect 0
%param {Parser *p}

%code requires {
#include "syntax.h"
}

%code {
enum { YYMAXDEPTH_ = 20000 };
#define YYMAXDEPTH  YYMAXDEPTH_
#define YYINITDEPTH 400

#define YYLLOC_DEFAULT(cur, rhs, n)                                            \
    ((cur) = (n) ? span_join(YYRHSLOC(rhs, 1), YYRHSLOC(rhs, n))               \
                 : (Span){YYRHSLOC(rhs, 0).file, YYRHSLOC(rhs, 0).last,        \
                          YYRHSLOC(rhs, 0).last})

#define PUSH(vec, x) vec_push(p->m->arena, &(vec), x)

#define NONE (AxisUseVec){0}

#define USE_TAIL(n, target_, axes_, axes_at, args_, args_at, frozen_, layout_) \
    do {                                                                       \
        (n)->use.target = (target_);                                           \
        (n)->use.has_axes = (axes_at).last > (axes_at).first;                  \
        (n)->use.has_args = (args_at).last > (args_at).first;                  \
        (n)->use.axes = LIST(Items, (axes_));                                  \
        (n)->use.args = LIST(Settings, (args_));                               \
        (n)->use.frozen = (frozen_) != NULL;                                   \
        (n)->use.layout = (layout_);                                           \
        node_adopt_items(p, (n), (n)->use.axes);                               \
        node_adopt_settings(p, (n), (n)->use.args);                            \
    } while (0)

static int tt_lex(TT_STYPE *value, Span *at, Parser *p);
static void tt_error(const Span *at, Parser *p, const char *text);
static void add_word(Parser *p, TokenVec *v, const Token *t);
}

%union {
    const Token *tok;
    Name name;
    Node *node;
    NodeVec nodes;
    NameVec names;
    SettingVec settings;
    Setting setting;
    ItemVec items;
    Item item;
    VarVec vars;
    Var var;
    AxisUseVec uses;
    AxisUse axis_use;
    AxisParamVec axis_params;
    TokenVec words;
    Decl decl;
    FileLayout layout;
    struct Times {
        Node *name;
        NodeVec dims;
    } times;
    BinaryOp binary;
}

%token <tok> NEWLINE "end of line"
%token <tok> NAME "name" NUMBER "number" STRING "text"
%token <tok> ARROW "->" DOTS ".." EQ "==" NE "!=" LE "<=" GE ">="
%token <tok> AND "and" AS "as" ELSE "else" FOR "for" IF "if" IN "in" NOT "not"
%token <tok> OR "or" REPEAT "repeat" RETURN "return" THEN "then"
%token <tok> TIMES "times" WITH "with"
%token <tok> IMPORT "import" AXIS "axis" CONFIG "config" FN "fn"
%token <tok> MODULE "module" MODEL "model" TRAIN "train" ENTRY "entry"
%token <tok> PLAN "plan" OPTIMIZER "optimizer" USE "use" PARAM "param"
%token <tok> STATE "state" RECORD "record" CHECK "check" SKIP "skip" UPDATE "update"
%token <tok> '+' '-' '*' '/' '^' '@' '(' ')' '[' ']' '{' '}' ',' ':' ';'
%token <tok> '=' '<' '>' '.'

%type <name> name path of_opt
%type <names> names paths contract_axes
%type <nodes> exprs lists decls stmts sum_term factors dims dims_opt
%type <nodes> tuple_rest product_names rules
%type <node> decl stmt use_stmt block rule_block if_stmt while_opt string axis_size
%type <node> type shape type_opt init_opt term atom factor dim list range rule
%type <node> expr or_expr and_expr not_expr cmp_expr sum_expr mul_expr
%type <node> unary power contract postfix primary
%type <settings> imports axis_items settings settings_line args args_opt
%type <settings> with_opt overrides use_args
%type <setting> import_item axis_item setting value arg
%type <items> items use_axes
%type <item> item
%type <vars> vars signature targets results results_opt
%type <var> var target
%type <uses> uses
%type <axis_use> use_axis
%type <axis_params> axis_params axis_params_opt
%type <words> words
%type <decl> header interface
%type <layout> layout
%type <times> times_opt
%type <tok> word frozen_opt
%type <binary> cmp_op

%%

file: decls  { p->decls = LIST(Nodes, $1); }
    ;

decls: %empty               { $$ = (NodeVec){0}; }
     | decls NEWLINE        { $$ = $1; }
     | decls decl NEWLINE   { $$ = $1; if ($2) PUSH($$, $2); }
     | decls error NEWLINE  { $$ = $1; yyerrok; }
     ;

name: NAME  { $$ = token_name($1); }
    ;

names: name            { $$ = (NameVec){0}; PUSH($$, $1); }
     | names ',' name  { $$ = $1; PUSH($$, $3); }
     ;

path: name           { $$ = $1; }
    | path '.' name  { $$ = path_join(p, $1, $3); }
    | path '.' NUMBER { $$ = path_join(p, $1, token_name($3)); }
    ;

paths: path            { $$ = (NameVec){0}; PUSH($$, $1); }
     | paths ',' path  { $$ = $1; PUSH($$, $3); }
     ;

string: STRING  { $$ = make_string(p, $1); }
      ;

/* ------------------------------------------------------- declarations -- */

decl: IMPORT imports {
          $$ = node_new(p, N_import, @$, @2);
          $$->import = LIST(Settings, $2);
      }
    | AXIS axis_items {
          $$ = node_new(p, N_axis, @$, @2);
          $$->axis = LIST(Settings, $2);
          node_adopt_settings(p, $$, $$->axis);
      }
    | CONFIG name of_opt '{' settings '}' {
          $$ = node_new(p, N_config, @$, @2);
          $$->config.name = $2;
          $$->config.base = $3;
          $$->config.items = LIST(Settings, $5);
          node_adopt_settings(p, $$, $$->config.items);
      }
    | FN header block          { $$ = make_decl(p, N_fn, @$, $2, $3); }
    | MODULE header block      { $$ = make_decl(p, N_module, @$, $2, $3); }
    | MODEL header block       { $$ = make_decl(p, N_model, @$, $2, $3); }
    | TRAIN header block       { $$ = make_decl(p, N_train, @$, $2, $3); }
    | ENTRY path interface with_opt block {
          $3.name = $2;
          $3.with = LIST(Settings, $4);
          $$ = make_decl(p, N_entry, @$, $3, $5);
      }
    | OPTIMIZER header FOR vars block {
          $2.targets = LIST(Vars, $4);
          $$ = make_decl(p, N_optimizer, @$, $2, $5);
      }
    | PLAN name of_opt rule_block {
          Decl d = {.name = $2, .of = $3};
          $$ = make_decl(p, N_plan, @$, d, $4);
      }
    | use_stmt
    ;

imports: import_item              { $$ = (SettingVec){0}; PUSH($$, $1); }
       | imports ',' import_item  { $$ = $1; PUSH($$, $3); }
       ;

import_item: path            { $$ = (Setting){.name = $1}; }
           | path WITH name  { $$ = (Setting){.name = $1, .value = make_name(p, $3)}; }
           ;

axis_items: axis_item                 { $$ = (SettingVec){0}; PUSH($$, $1); }
          | axis_items ',' axis_item  { $$ = $1; PUSH($$, $3); }
          ;

axis_item: name                { $$ = (Setting){.name = $1}; }
         | name '=' axis_size  { $$ = (Setting){.name = $1, .value = $3}; }
         ;

axis_size: expr  { $$ = as_axis_sum(p, $1); }
         ;

of_opt: %empty     { $$ = (Name){0}; }
      | NAME name  {
            expect_word(p, $1, "of");
            $$ = $2;
        }
      ;

/* separated by commas or newlines */
settings: %empty                   { $$ = (SettingVec){0}; }
        | settings_line separator_opt  { $$ = $1; }
        ;

settings_line: value  { $$ = (SettingVec){0}; PUSH($$, $1); }
             | settings_line separator value  { $$ = $1; PUSH($$, $3); }
             ;

value: setting
     | setting AS string  { $$ = $1; $$.key = (Name){$3->string, $3->span}; }
     ;

separator: ',' | NEWLINE ;
separator_opt: %empty | separator ;

setting: name '=' expr  { $$ = (Setting){.name = $1, .value = $3}; }
       ;

header: name interface {
            $$ = $2;
            $$.name = $1;
        }
      ;

interface: axis_params_opt signature results_opt {
               $$ = (Decl){.has_axes = @1.last > @1.first,
                           .axes = $1.at,
                           .naxes = $1.n,
                           .has_params = true,
                           .params = LIST(Vars, $2),
                           .results = LIST(Vars, $3),
                           .has_results = $3.n > 0};
           }
         ;

axis_params_opt: %empty               { $$ = (AxisParamVec){0}; }
               | '[' axis_params ']'  { $$ = $2; }
               ;

axis_params: name  {
                 $$ = (AxisParamVec){0};
                 PUSH($$, ((AxisParam){.name = $1}));
             }
           | name ARROW name  {
                 $$ = (AxisParamVec){0};
                 PUSH($$, ((AxisParam){$1, $3}));
             }
           | axis_params ',' name  {
                 $$ = $1;
                 PUSH($$, ((AxisParam){.name = $3}));
             }
           | axis_params ',' name ARROW name  {
                 $$ = $1;
                 PUSH($$, ((AxisParam){$3, $5}));
             }
           ;

signature: '(' ')'       { $$ = (VarVec){0}; }
         | '(' vars ')'  { $$ = $2; }
         ;

results_opt: %empty         { $$ = (VarVec){0}; }
           | ARROW results  { $$ = $2; }
           ;

results: type          { $$ = (VarVec){0}; PUSH($$, ((Var){.type = $1})); }
       | '(' vars ')'  { $$ = $2; }
       ;

with_opt: %empty          { $$ = (SettingVec){0}; }
        | WITH overrides  { $$ = $2; }
        ;

overrides: setting                { $$ = (SettingVec){0}; PUSH($$, $1); }
         | overrides ',' setting  { $$ = $1; PUSH($$, $3); }
         ;

vars: var           { $$ = (VarVec){0}; PUSH($$, $1); }
    | vars ',' var  { $$ = $1; PUSH($$, $3); }
    ;

var: name type_opt init_opt  { $$ = (Var){$1, $2, $3}; }
   ;

type_opt: %empty    { $$ = NULL; }
        | ':' type  { $$ = $2; }
        ;

init_opt: %empty    { $$ = NULL; }
        | '=' expr  { $$ = $2; }
        ;

/* -------------------------------------------------------------- types -- */

type: NAME        { $$ = make_type(p, @$, $1); }
    | shape
    | NAME shape  {
          $$ = $2;
          $$->type.dtype = token_name($1);
          $$->span = $$->head = @$;
      }
    ;

shape: '[' ']'  {
           $$ = make_type(p, @$, NULL);
           type_axes(p, $$, NONE, NONE, NONE, 0);
       }
     | '[' uses ']'  {
           $$ = make_type(p, @$, NULL);
           type_axes(p, $$, NONE, NONE, $2, 0);
       }
     | '[' uses ARROW uses ']'  {
           $$ = make_type(p, @$, NULL);
           type_axes(p, $$, NONE, $2, $4, TYPE_arrow);
       }
     | '[' uses ';' uses ']'  {
           $$ = make_type(p, @$, NULL);
           type_axes(p, $$, $2, NONE, $4, TYPE_over);
       }
     | '[' uses ';' uses ARROW uses ']'  {
           $$ = make_type(p, @$, NULL);
           type_axes(p, $$, $2, $4, $6, TYPE_over | TYPE_arrow);
       }
     ;

uses: use_axis           { $$ = (AxisUseVec){0}; PUSH($$, $1); }
    | uses ',' use_axis  { $$ = $1; PUSH($$, $3); }
    ;

use_axis: term           { $$ = (AxisUse){$1, NULL}; }
        | term ':' expr  { $$ = (AxisUse){$1, $3}; }
        ;

/* --------------------------------------------------------- axis terms -- */

term: atom
    | sum_term  { $$ = make_terms(p, N_sum, @$, $1); }
    | DOTS      { $$ = node_new(p, N_rest, @$, @$); }
    ;

sum_term: atom '+' atom      { $$ = (NodeVec){0}; PUSH($$, $1); PUSH($$, $3); }
        | sum_term '+' atom  { $$ = $1; PUSH($$, $3); }
        ;

atom: name             { $$ = make_name(p, $1); }
    | '(' factors ')'  {
          $$ = $2.n == 1 ? $2.at[0] : make_terms(p, N_product, @$, $2);
      }
    ;

factors: factor          { $$ = (NodeVec){0}; PUSH($$, $1); }
       | factors factor  { $$ = $1; PUSH($$, $2); }
       ;

factor: atom
      | sum_term  { $$ = make_terms(p, N_sum, @$, $1); }
      ;

/* dimensions of a checkpoint tensor, side by side */
dims: dim       { $$ = (NodeVec){0}; PUSH($$, $1); }
    | dims dim  { $$ = $1; PUSH($$, $2); }
    ;

dim: factor
   | atom '/' NUMBER  { $$ = make_blocks(p, @$, $1, $3); }
   ;

layout: %empty   { $$ = (FileLayout){.span = @$}; }
      | AS NAME  {
            expect_word(p, $2, "none");
            $$ = (FileLayout){.span = @$, .present = true, .none = true};
        }
      | AS string dims_opt times_opt  {
            $$ = (FileLayout){.span = @$,
                          .present = true,
                          .name = $2,
                          .has_dims = $3.n > 0,
                          .dims = LIST(Nodes, $3),
                          .times_name = $4.name,
                          .times_dims = LIST(Nodes, $4.dims)};
        }
      ;

dims_opt: %empty        { $$ = (NodeVec){0}; }
        | '[' dims ']'  { $$ = $2; }
        ;

times_opt: %empty                 { $$ = (struct Times){0}; }
         | TIMES string dims_opt  { $$.name = $2; $$.dims = $3; }
         ;

/* --------------------------------------------------------- statements -- */

block: '{' stmts '}'  { $$ = make_block(p, @$, $2); }
     | '{' stmts stmt '}'  {
           if ($3) PUSH($2, $3);
           $$ = make_block(p, @$, $2);
       }
     | '{' stmts error '}'  { $$ = make_block(p, @$, $2); yyerrok; }
     ;

stmts: %empty               { $$ = (NodeVec){0}; }
     | stmts NEWLINE        { $$ = $1; }
     | stmts stmt NEWLINE   { $$ = $1; if ($2) PUSH($$, $2); }
     | stmts error NEWLINE  { $$ = $1; yyerrok; }
     ;

stmt: PARAM vars layout {
          share_types(p, &$2);
          $$ = node_new(p, N_param, @$, @2);
          $$->param.items = LIST(Vars, $2);
          $$->param.layout = $3;
          node_adopt_vars(p, $$, $$->param.items);
      }
    | STATE vars layout {
          $$ = node_new(p, N_state, @$, @2);
          $$->state.items = LIST(Vars, $2);
          $$->state.layout = $3;
          node_adopt_vars(p, $$, $$->state.items);
      }
    | AXIS axis_items {
          $$ = node_new(p, N_axis, @$, @2);
          $$->axis = LIST(Settings, $2);
          node_adopt_settings(p, $$, $$->axis);
      }
    | use_stmt
    | targets '=' exprs {
          $$ = node_new(p, N_assign, @$, @1);
          $$->assign.targets = LIST(Vars, $1);
          $$->assign.values = LIST(Nodes, $3);
          node_adopt_vars(p, $$, $$->assign.targets);
          node_adopt_all(p, $$, $$->assign.values);
      }
    | RETURN exprs {
          $$ = node_new(p, N_return, @$, @1);
          $$->ret = LIST(Nodes, $2);
          node_adopt_all(p, $$, $$->ret);
      }
    | if_stmt
    | FOR names IN lists block {
          $$ = node_new(p, N_for, @$, span_join(@1, @4));
          $$->loop.names = LIST(Names, $2);
          $$->loop.lists = LIST(Nodes, $4);
          $$->loop.body = $5;
          node_adopt_all(p, $$, $$->loop.lists);
          node_adopt(p, $$, $5);
      }
    | REPEAT name while_opt layout block {
          $$ = node_new(p, N_repeat, @$, @2);
          $$->repeat.axis = $2;
          $$->repeat.cond = $3;
          $$->repeat.layout = $4;
          $$->repeat.body = $5;
          node_adopt(p, $$, $3);
          node_adopt(p, $$, $5);
      }
    | RECORD name '=' expr {
          $$ = node_new(p, N_record, @$, @2);
          $$->record.name = $2;
          $$->record.value = $4;
          node_adopt(p, $$, $4);
      }
    | CHECK expr ',' string {
          $$ = node_new(p, N_check, @$, @2);
          $$->check.cond = $2;
          $$->check.text = $4;
          node_adopt(p, $$, $2);
      }
    | SKIP expr ',' string {
          $$ = node_new(p, N_skip, @$, @2);
          $$->check.cond = $2;
          $$->check.text = $4;
          node_adopt(p, $$, $2);
      }
    | UPDATE '=' expr {
          $$ = node_new(p, N_update, @$, @1);
          $$->update.value = $3;
          node_adopt(p, $$, $3);
      }
    | UPDATE paths '=' expr {
          $$ = node_new(p, N_update, @$, @2);
          $$->update.paths = LIST(Names, $2);
          $$->update.value = $4;
          node_adopt(p, $$, $4);
      }
    ;

use_stmt: USE name '=' path use_axes use_args frozen_opt layout {
              $$ = node_new(p, N_use, @$, @2);
              $$->use.name = $2;
              USE_TAIL($$, $4, $5, @5, $6, @6, $7, $8);
          }
        | USE path use_axes use_args frozen_opt layout {
              $$ = node_new(p, N_use, @$, @2);
              $$->use.name = path_last(p, $2);
              USE_TAIL($$, $2, $3, @3, $4, @4, $5, $6);
          }
        ;

use_axes: %empty         { $$ = (ItemVec){0}; }
        | '[' items ']'  { $$ = $2; }
        ;

use_args: %empty            { $$ = (SettingVec){0}; }
        | '(' args_opt ')'  { $$ = $2; }
        ;

frozen_opt: %empty  { $$ = NULL; }
          | NAME    {
                expect_word(p, $1, "frozen");
                $$ = $1;
            }
          ;

targets: target              { $$ = (VarVec){0}; PUSH($$, $1); }
       | targets ',' target  { $$ = $1; PUSH($$, $3); }
       ;

target: name type_opt  { $$ = (Var){$1, $2, NULL}; }
      ;

if_stmt: IF expr block {
             $$ = make_if(p, @$, span_join(@1, @2), $2, $3, NULL);
         }
       | IF expr block ELSE block {
             $$ = make_if(p, @$, span_join(@1, @2), $2, $3, $5);
         }
       | IF expr block ELSE if_stmt {
             $$ = make_if(p, @$, span_join(@1, @2), $2, $3, $5);
         }
       ;

while_opt: %empty     { $$ = NULL; }
         | NAME expr  {
               expect_word(p, $1, "while");
               $$ = $2;
           }
         ;

lists: list            { $$ = (NodeVec){0}; PUSH($$, $1); }
     | lists ',' list  { $$ = $1; PUSH($$, $3); }
     ;

list: expr
    | range
    ;

range: expr DOTS expr  { $$ = make_range(p, $1, $3, @2); }
     ;

/* -------------------------------------------------------------- plans -- */

rule_block: '{' rules '}'        { $$ = make_block(p, @$, $2); }
          | '{' rules rule '}'   { PUSH($2, $3); $$ = make_block(p, @$, $2); }
          | '{' rules error '}'  { $$ = make_block(p, @$, $2); yyerrok; }
          ;

rules: %empty               { $$ = (NodeVec){0}; }
     | rules NEWLINE        { $$ = $1; }
     | rules rule NEWLINE   { $$ = $1; PUSH($$, $2); }
     | rules error NEWLINE  { $$ = $1; yyerrok; }
     ;

rule: words  { $$ = make_rule(p, @$, $1); }
    ;

words: word        { $$ = (TokenVec){0}; add_word(p, &$$, $1); }
     | words word  { $$ = $1; add_word(p, &$$, $2); }
     ;

word: NAME | NUMBER | STRING | FOR | IN | REPEAT
    | ',' | '=' | '.' | '(' | ')'
    ;

/* -------------------------------------------------------- expressions -- */

exprs: expr            { $$ = (NodeVec){0}; PUSH($$, $1); }
     | exprs ',' expr  { $$ = $1; PUSH($$, $3); }
     ;

expr: or_expr
    | IF expr THEN expr ELSE expr  { $$ = make_choose(p, @$, $2, $4, $6); }
    ;

or_expr: and_expr
       | or_expr OR and_expr  { $$ = make_binary(p, BIN_or, @2, $1, $3); }
       ;

and_expr: not_expr
        | and_expr AND not_expr  { $$ = make_binary(p, BIN_and, @2, $1, $3); }
        ;

not_expr: cmp_expr
        | NOT not_expr  { $$ = make_unary(p, UN_not, @1, $2); }
        ;

cmp_expr: sum_expr
        | sum_expr cmp_op sum_expr  { $$ = make_binary(p, $2, @2, $1, $3); }
        ;

cmp_op: EQ   { $$ = BIN_eq; }
      | NE   { $$ = BIN_ne; }
      | '<'  { $$ = BIN_lt; }
      | LE   { $$ = BIN_le; }
      | '>'  { $$ = BIN_gt; }
      | GE   { $$ = BIN_ge; }
      ;

sum_expr: mul_expr
        | sum_expr '+' mul_expr  { $$ = make_binary(p, BIN_add, @2, $1, $3); }
        | sum_expr '-' mul_expr  { $$ = make_binary(p, BIN_sub, @2, $1, $3); }
        ;

mul_expr: unary
        | mul_expr '*' unary  { $$ = make_binary(p, BIN_mul, @2, $1, $3); }
        | mul_expr '/' unary  { $$ = make_binary(p, BIN_div, @2, $1, $3); }
        ;

unary: power
     | '-' unary  { $$ = make_unary(p, UN_neg, @1, $2); }
     ;

power: contract
     | contract '^' unary  { $$ = make_binary(p, BIN_pow, @2, $1, $3); }
     ;

contract: postfix
        | contract '@' contract_axes postfix  {
              $$ = make_contract(p, span_join(@2, @3), $1, $3, $4);
          }
        ;

contract_axes: name           { $$ = (NameVec){0}; PUSH($$, $1); }
             | '(' names ')'  { $$ = $2; }
             ;

postfix: primary
       | postfix '[' items ']'  {
             $$ = make_index(p, @$, span_join(@2, @4), $1, $3);
         }
       | postfix '(' args_opt ')'  { $$ = make_call(p, @$, $1, $3); }
       | postfix '.' NAME          { $$ = make_field(p, @$, $1, $3); }
       | postfix '.' NUMBER        { $$ = make_field(p, @$, $1, $3); }
       ;

primary: name          { $$ = make_name(p, $1); }
       | NUMBER        { $$ = make_number(p, $1); }
       | string
       | '(' expr ')'  { $$ = $2; }
       | '(' expr ',' tuple_rest ')'  {
             NodeVec v = {0};
             PUSH(v, $2);
             for (uint32_t i = 0; i < $4.n; i++) PUSH(v, $4.at[i]);
             $$ = make_tuple(p, @$, v);
         }
       | '(' product_names ')'  { $$ = make_terms(p, N_product, @$, $2); }
       ;

tuple_rest: %empty  { $$ = (NodeVec){0}; }
          | exprs
          ;

product_names: name name  {
                   $$ = (NodeVec){0};
                   PUSH($$, make_name(p, $1));
                   PUSH($$, make_name(p, $2));
               }
             | product_names name  { $$ = $1; PUSH($$, make_name(p, $2)); }
             ;

args_opt: %empty  { $$ = (SettingVec){0}; }
        | args
        ;

args: arg           { $$ = (SettingVec){0}; PUSH($$, $1); }
    | args ',' arg  { $$ = $1; PUSH($$, $3); }
    ;

arg: expr           { $$ = (Setting){.value = $1}; }
   | name '=' expr  { $$ = (Setting){.name = $1, .value = $3}; }
   ;

items: item            { $$ = (ItemVec){0}; PUSH($$, $1); }
     | items ',' item  { $$ = $1; PUSH($$, $3); }
     ;

item: term             { $$ = (Item){ITEM_axis, @$, $1, 0, 0, 0}; }
    | term ARROW term  { $$ = (Item){ITEM_rename, @$, $1, $3, 0, 0}; }
    | name '=' list    {
          $$ = (Item){ITEM_pick, @$, make_name(p, $1), 0, $3, 0};
      }
    | name '=' expr ELSE expr  {
          $$ = (Item){ITEM_pick, @$, make_name(p, $1), 0, $3, $5};
      }
    ;

%%

static int tt_lex(TT_STYPE *value, Span *at, Parser *p)
{
    const Token *t = &p->tokens.at[p->next];
    p->at = p->next;
    if (p->next + 1 < p->tokens.n) p->next++;
    if (t->kind == '{') PUSH(p->open, (uint32_t)(t - p->tokens.at));
    if (t->kind == '}' && p->open.n) p->open.n--;
    value->tok = t;
    *at = t->span;
    return t->kind;
}

static void add_word(Parser *p, TokenVec *v, const Token *t)
{
    PUSH(*v, *t);
}

static int yyreport_syntax_error(const yypcontext_t *ctx, Parser *p)
{
    yysymbol_kind_t kinds[YYNTOKENS];
    const char *names[YYNTOKENS];
    int n = yypcontext_expected_tokens(ctx, kinds, YYNTOKENS);
    for (int i = 0; i < n; i++) names[i] = yysymbol_name(kinds[i]);
    syntax_error(p, names, n > 0 ? (unsigned)n : 0);
    return 0;
}

/* Only for a parser stack that is full. */
static void tt_error(const Span *at, Parser *p, const char *text)
{
    (void)text;
    report_too_deep(p, *at);
}

int tt_parse_tokens(Parser *p)
{
    return yyparse(p);
}
